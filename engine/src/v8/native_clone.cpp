#include "native_clone.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "text.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::size_t kCloneBytesMax = 256u << 20;

class CloneDelegate final : public v8::ValueSerializer::Delegate {
 public:
  explicit CloneDelegate(v8::Isolate* isolate) : isolate_(isolate) {}

  void ThrowDataCloneError(v8::Local<v8::String> message) override {
    refusal_ = message;
    isolate_->ThrowException(v8::Exception::Error(message));
  }
  void* ReallocateBufferMemory(void* old_buffer, std::size_t size, std::size_t* actual) override {
    if (size > kCloneBytesMax) return nullptr;
    *actual = size;
    return std::realloc(old_buffer, size);
  }
  void FreeBufferMemory(void* buffer) override { std::free(buffer); }

  v8::Local<v8::String> refusal() const { return refusal_; }

 private:
  v8::Isolate* const isolate_;
  v8::Local<v8::String> refusal_;
};

void detach(v8::Local<v8::ArrayBuffer> buffer) {
#if V8_MAJOR_VERSION >= 11
  buffer->Detach(v8::Local<v8::Value>()).FromMaybe(false);  // only a key could refuse it
#else
  buffer->Detach();
#endif
}

struct Bytes {
  explicit Bytes(std::pair<std::uint8_t*, std::size_t> released)
      : data(released.first), size(released.second) {}
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() { std::free(data); }
  std::uint8_t* const data;
  const std::size_t size;
};

}  // namespace

void native_structured_clone(const v8::FunctionCallbackInfo<v8::Value>& info) {
  v8::Isolate* const isolate = info.GetIsolate();
  const auto context = isolate->GetCurrentContext();
  const auto transfer = info[1].As<v8::Array>();
  CloneDelegate delegate(isolate);
  v8::ValueSerializer serializer(isolate, &delegate);
  serializer.WriteHeader();
  for (std::uint32_t i = 0; i < transfer->Length(); ++i) {
    const auto buffer = transfer->Get(context, i).ToLocalChecked().As<v8::ArrayBuffer>();
    if (!buffer->IsDetachable()) {
      info.GetReturnValue().Set(literal(isolate, "An ArrayBuffer cannot be transferred"));
      return;
    }
    serializer.TransferArrayBuffer(i, buffer);
  }
  {
    v8::TryCatch caught(isolate);
    if (serializer.WriteValue(context, info[0]).IsNothing()) {
      if (!caught.HasTerminated() && !delegate.refusal().IsEmpty()) {
        info.GetReturnValue().Set(delegate.refusal());
      } else {
        caught.ReThrow();
      }
      return;
    }
  }
  const Bytes bytes(serializer.Release());
  v8::ValueDeserializer deserializer(isolate, bytes.data, bytes.size);
  for (std::uint32_t i = 0; i < transfer->Length(); ++i) {
    const auto buffer = transfer->Get(context, i).ToLocalChecked().As<v8::ArrayBuffer>();
    deserializer.TransferArrayBuffer(i, v8::ArrayBuffer::New(isolate, buffer->GetBackingStore()));
    detach(buffer);
  }
  v8::Local<v8::Value> clone;
  if (deserializer.ReadHeader(context).IsNothing() ||
      !deserializer.ReadValue(context).ToLocal(&clone)) {
    return;
  }
  info.GetReturnValue().Set(v8::Array::New(isolate, &clone, 1));
}

}  // namespace sequential::engine::v8host
