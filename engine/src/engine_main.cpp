// sequential-engine: runs task code for one broker, over the socket at descriptor 3.
//
//   sequential-engine                    serve (started by the broker, no arguments, no
//   environment) sequential-engine --make-base FILE   write the base snapshot (at build time)
//   sequential-engine --self-test        check that this V8 does what the engine rests on
//
// Exit status: 0 the broker closed the socket · 64 wrong use · 65 the broker sent what the protocol
// does not allow · 69 cannot start · 70 out of memory (last_words.h) · 71 self-test failed.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "sequential/base/error.h"
#include "sequential/engine/protocol.h"
#include "v8/base_blob.h"
#include "v8/channel.h"
#include "v8/engine.h"
#include "v8/last_words.h"
#include "v8/platform.h"
#include "v8/probe.h"
#include "v8/sandbox.h"
#include "v8/self_test.h"
#include "v8/watchdog.h"

namespace sequential::engine::v8host {
namespace {

constexpr int kExitUsage = 64;
constexpr int kExitProtocol = 65;
constexpr int kExitCannotStart = 69;
constexpr int kExitSelfTest = 71;

int complain(int status, const Error& error) {
  std::fprintf(stderr, "sequential-engine: %s\n", error.message.c_str());
  return status;
}

// The base snapshot lies beside the executable.
std::string base_path() {
  std::string path(4'096, '\0');
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) return {};
  path.resize(static_cast<std::size_t>(length));
  return path + ".base";
}

Result<BaseBlob> open_base() {
  auto base = BaseBlob::load(base_path());
  if (base) return std::move(*base);
  return BaseBlob::build_in_child();
}

// Beyond what the runs are allowed: V8's own tables, frames under way, one heap that outgrows its
// limit while its script is being stopped.
std::int64_t data_bytes_max(const protocol::Hello& hello) {
  constexpr std::int64_t kOwnBytes = 256ll << 20;
  const Limits& limits = hello.limits;
  return hello.warm_bytes_max + 2 * limits.heap_bytes + limits.buffer_bytes +
         3 * limits.frame_bytes + kOwnBytes;
}

int serve(std::string_view probe) {
  Channel channel(protocol::kSocketFd);
  const auto hello = channel.read_hello();
  if (hello.has_error()) return complain(kExitProtocol, hello.error());
  if (!hello.value()) return 0;
  const Jit jit = hello.value()->jit ? Jit::on : Jit::off;

  auto base = open_base();
  if (base.has_error()) return complain(kExitCannotStart, base.error());
  const auto sandbox = enter_sandbox_early();
  if (sandbox.has_error()) return complain(kExitCannotStart, sandbox.error());
  install_new_handler();
  const Platform platform(jit);
  Watchdog watchdog(hello.value()->limits.cpu_ms, hello.value()->limits.wall_ms);
  const auto sealed = enter_sandbox_late(data_bytes_max(*hello.value()), jit);
  if (sealed.has_error()) return complain(kExitCannotStart, sealed.error());
  if (!probe.empty()) return run_probe(probe);

  const auto served = [&] {
    Engine engine(channel, platform, base.value(), watchdog, *hello.value());
    return engine.serve();
  }();
  if (!served.has_error()) return 0;
  if (served.error().code == Errc::unavailable) return 0;
  return complain(kExitProtocol, served.error());
}

int make_base(const std::string& path) {
  const Platform platform(Jit::on);
  const auto base = BaseBlob::build();
  if (base.has_error()) return complain(kExitCannotStart, base.error());
  const auto written = base.value().write(path);
  if (written.has_error()) return complain(kExitCannotStart, written.error());
  return 0;
}

int self_test() {
  auto base = open_base();
  if (base.has_error()) return complain(kExitCannotStart, base.error());
  const Platform platform(Jit::on);
  const auto passed = run_self_test(platform, base.value());
  if (passed.has_error()) return complain(kExitSelfTest, passed.error());
  std::printf("V8 %s, base snapshot of %zu bytes %s: ok\n", v8::V8::GetVersion(),
              base.value().size(), base.value().from_file() ? "from its file" : "built now");
  return 0;
}

int run(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "--make-base" && argc == 3) return make_base(argv[2]);
  if (command == "--self-test" && argc == 2) return self_test();
  if (command == "--probe" && argc == 3 && probes_compiled()) return serve(argv[2]);
  if (argc == 1) return serve({});
  std::fprintf(stderr, "usage: sequential-engine [--make-base FILE | --self-test]\n");
  return kExitUsage;
}

}  // namespace
}  // namespace sequential::engine::v8host

#ifdef __SANITIZE_ADDRESS__
// The broker starts engines without an environment. At exit the leak checker would need a thread,
// and the sandbox forbids those.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0:abort_on_error=1"; }
#endif

int main(int argc, char** argv) { return sequential::engine::v8host::run(argc, argv); }
