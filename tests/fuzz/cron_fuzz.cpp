// Any text as a cron expression: it is refused with words, or it has ticks that go on, fit, and
// come soon.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "schedules/cron.h"
#include "schedules/ticks.h"

using sequential::WallTime;
using sequential::server::Civil;
using sequential::server::Cron;
using sequential::server::Ticks;

namespace {
void must(bool holds) {
  if (!holds) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cron = Cron::parse(text);
  if (cron.has_error()) {
    must(cron.error().field == "cron" && cron.error().message.size() < 400);
    static_cast<void>(Ticks::make("@hourly", text));
    return 0;
  }
  const auto ticks = Ticks::make(text, "Australia/Lord_Howe");
  must(ticks.has_value());
  WallTime at{1'774'000'000'000};
  for (int i = 0; i < 5; ++i) {
    const auto next = ticks.value().next(at);
    must(next.has_value() && *next > at);
    at = *next;
  }
  if (cron.value().every().count() > 0) return 0;
  const auto first = cron.value().next(Civil{2026, 1, 1, 0, 0, 0});
  must(first.has_value() && cron.value().fits(*first));
  return 0;
}
