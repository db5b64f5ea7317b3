#include "base_blob.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "allocator.h"
#include "bootstrap.h"
#include "control.h"
#include "natives.h"
#include "sequential/base/bytes.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::string_view kMagic = "SEQBASE1";
constexpr std::size_t kVersionBytes = 64;
constexpr std::size_t kBlobBytesMax = 64u << 20;

struct Header {
  std::array<char, 8> magic{};
  std::uint32_t header_bytes = 0;
  std::uint32_t references = 0;
  std::array<char, kVersionBytes> v8_version{};
  std::array<std::uint64_t, 2> identity{};
  std::uint64_t blob_bytes = 0;
  std::array<std::uint64_t, 2> blob_hash{};
};
static_assert(std::is_trivially_copyable_v<Header>);

std::array<std::uint64_t, 2> hash_of(std::string_view bytes) {
  const Hash128 hash = fast_hash(bytes);
  return {hash.high, hash.low};
}

// The header that this build writes for a blob of these bytes.
Header header_for(std::string_view blob) {
  Header header;
  std::memcpy(header.magic.data(), kMagic.data(), kMagic.size());
  header.header_bytes = sizeof(Header);
  const std::string names = external_reference_names();
  header.references = static_cast<std::uint32_t>(std::count(names.begin(), names.end(), '\n'));
  std::strncpy(header.v8_version.data(), v8::V8::GetVersion(), kVersionBytes - 1);
  header.identity = hash_of(snapshot_flags() + '\n' + names + std::string(bootstrap_source()));
  header.blob_bytes = blob.size();
  header.blob_hash = hash_of(blob);
  return header;
}

// The task that is run once while the blob is made, so that the functions it passes through are
// compiled in it.
constexpr std::string_view kWarmUp = R"js(
(async function (input) {
  const results = [];
  for (let i = 0; i < 3; i++) {
    results.push(__callHostTool__('warm', 'up', [i, input], { timeout: 1 }));
    console.log('step', i, { a: [1, 'two', { three: null }], b: undefined }, input);
    console.info('%s %d %o', 'text', i, [i]);
  }
  results.push(services.warm.path.up({ i: Math.random() }));
  results.push(sleep(5));
  results.push(new Promise((resolve) => setTimeout(resolve, 1, 'x')));
  const date = new Date();
  const ids = [Date.now(), date.toISOString(), crypto.randomUUID(), performance.now()];
  const settled = await Promise.allSettled(results);
  try {
    await __callHostTool__('warm', ['up', 'again'], { ids });
  } catch (error) {
    console.warn(error, error.code);
  }
  const error = new TypeError('m', { cause: new Error('c') });
  console.error(error, new Map([[1, 2]]), new Set([1]));
  return { settled, length: [1, 2, 3].at(-1) };
})
)js";
constexpr int kWarmUpCalls = 6;

// Runs the warm-up task in the context and forgets its traces. False if it did not finish.
bool warm_up(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  const v8::Context::Scope entered(context);
  const Control control(context);
  Effects effects;
  host_of(isolate).effects = &effects;
  v8::Local<v8::String> source;
  v8::Local<v8::Script> script;
  v8::Local<v8::Value> task;
  const bool started =
      control.thaw() &&
      control.begin({.name = "warm", .seed = std::string(16, 's'), .limits = {}}) &&
      to_v8(isolate, kWarmUp).ToLocal(&source) &&
      v8::Script::Compile(context, source).ToLocal(&script) &&
      script->Run(context).ToLocal(&task) &&
      control.start(task.As<v8::Function>(), v8::Null(isolate));
  if (started) isolate->PerformMicrotaskCheckpoint();
  for (int seq = 1; started && seq <= kWarmUpCalls + 1; ++seq) {
    const bool failed = seq == 2 || seq == kWarmUpCalls + 1;
    v8::Local<v8::Value> value;
    if (!v8::JSON::Parse(
             context,
             literal(isolate, failed ? R"({"name":"HostCallError","message":"m","code":"c"})"
                                     : R"({"ok":true})"))
             .ToLocal(&value)) {
      break;
    }
    static_cast<void>(control.settle(seq, failed, value, 1));
    isolate->PerformMicrotaskCheckpoint();
  }
  host_of(isolate).effects = nullptr;
  return effects.ended && effects.succeeded && control.reset() && control.freeze();
}

Result<void> fill_context(v8::Local<v8::Context> context) {
  v8::Isolate* const isolate = context->GetIsolate();
  const v8::Context::Scope entered(context);
  v8::TryCatch caught(isolate);
  const v8::ScriptOrigin origin(isolate, literal(isolate, "sequential:runtime"));
  v8::Local<v8::String> source_text;
  v8::Local<v8::Value> bootstrap;
  v8::Local<v8::Value> control;
  if (to_v8(isolate, bootstrap_source()).ToLocal(&source_text)) {
    v8::ScriptCompiler::Source source(source_text, origin);
    v8::Local<v8::Script> script;
    v8::Local<v8::Value> natives[] = {make_natives(context)};
    if (v8::ScriptCompiler::Compile(context, &source).ToLocal(&script) &&
        script->Run(context).ToLocal(&bootstrap) && bootstrap->IsFunction() &&
        bootstrap.As<v8::Function>()
            ->Call(context, v8::Undefined(isolate), 1, natives)
            .ToLocal(&control)) {
      Control::store(context, control.As<v8::Object>());
      return success();
    }
  }
  std::string what = "the bootstrap did not run";
  if (caught.HasCaught() && !caught.Message().IsEmpty()) {
    what += ": line " + std::to_string(caught.Message()->GetLineNumber(context).FromMaybe(0)) +
            ": " + to_utf8(isolate, caught.Message()->Get());
  }
  return make_error(Errc::internal, what);
}

}  // namespace

BaseBlob::BaseBlob(BaseBlob&& other) noexcept
    : owned_(std::move(other.owned_)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_bytes_(other.mapping_bytes_),
      data_(other.data_),
      from_file_(other.from_file_) {
  if (mapping_ == nullptr) data_.data = owned_.data();
}

BaseBlob::~BaseBlob() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_bytes_);
}

std::optional<BaseBlob> BaseBlob::map(int fd, bool from_file) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return std::nullopt;
  const auto bytes = static_cast<std::size_t>(status.st_size);
  if (bytes <= sizeof(Header) || bytes > kBlobBytesMax) return std::nullopt;
  BaseBlob blob;
  blob.mapping_ = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (blob.mapping_ == MAP_FAILED) {
    blob.mapping_ = nullptr;
    return std::nullopt;
  }
  blob.mapping_bytes_ = bytes;
  const char* const start = static_cast<const char*>(blob.mapping_);
  const std::string_view content(start + sizeof(Header), bytes - sizeof(Header));
  const Header expected = header_for(content);
  if (std::memcmp(&expected, start, sizeof(Header)) != 0) return std::nullopt;
  blob.data_ = {content.data(), static_cast<int>(content.size())};
  if (!blob.data_.IsValid()) return std::nullopt;
  blob.from_file_ = from_file;
  return blob;
}

std::optional<BaseBlob> BaseBlob::load(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  auto blob = map(fd, true);
  ::close(fd);
  return blob;
}

Result<BaseBlob> BaseBlob::build() {
  IsolateHost host;
  v8::SnapshotCreator creator(external_references());
  v8::Isolate* const isolate = creator.GetIsolate();
  isolate->SetData(0, &host);
  isolate->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
  {
    const v8::HandleScope handles(isolate);
    const auto context = v8::Context::New(isolate);
    const auto filled = fill_context(context);
    if (filled.has_error()) {
      creator.SetDefaultContext(context);
      return filled.error();
    }
    if (!warm_up(context)) {
      creator.SetDefaultContext(context);
      return make_error(Errc::internal, "the warm-up task of the bootstrap did not finish");
    }
    creator.SetDefaultContext(context);
  }
  const v8::StartupData made = creator.CreateBlob(v8::SnapshotCreator::FunctionCodeHandling::kKeep);
  if (made.data == nullptr) return make_error(Errc::internal, "V8 made no snapshot");
  BaseBlob blob;
  blob.owned_.assign(made.data, static_cast<std::size_t>(made.raw_size));
  delete[] made.data;
  blob.data_ = {blob.owned_.data(), static_cast<int>(blob.owned_.size())};
  return blob;
}

Result<void> BaseBlob::write(const std::string& path) const {
  const std::string_view content(data_.data, size());
  const Header header = header_for(content);
  const auto failed = [&path](const char* what) {
    return make_error(Errc::internal, std::string("cannot ") + what + " " + path);
  };
  // Written beside and renamed: a half-written file never has the name.
  const std::string temporary = path + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failed("create");
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += content;
  const ssize_t written = ::write(fd, bytes.data(), bytes.size());
  const bool complete = written == static_cast<ssize_t>(bytes.size());
  if (::close(fd) != 0 || !complete) return failed("write");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return failed("rename to");
  return success();
}

Result<BaseBlob> BaseBlob::build_in_child() {
  const int fd = ::memfd_create("sequential-engine.base", MFD_CLOEXEC);
  if (fd < 0) return make_error(Errc::internal, "memfd_create failed");
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const pid_t child = ::fork();
  if (child == 0) {
    const Platform platform(Jit::on);
    const auto built = build();
    if (built.has_error()) ::_exit(1);
    const std::string_view content(built.value().data_.data, built.value().size());
    const Header header = header_for(content);
    const bool written =
        ::write(fd, &header, sizeof header) == static_cast<ssize_t>(sizeof header) &&
        ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
    ::_exit(written ? 0 : 1);
  }
  int status = 0;
  if (child > 0) ::waitpid(child, &status, 0);
  auto blob = child > 0 && status == 0 ? map(fd, false) : std::optional<BaseBlob>{};
  ::close(fd);
  if (!blob) return make_error(Errc::internal, "the base snapshot could not be built");
  return std::move(*blob);
}

}  // namespace sequential::engine::v8host
