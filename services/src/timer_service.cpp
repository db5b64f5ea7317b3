// timer: durable waits. The wait itself is the stored call's available_at (Service::delay); when
// the call comes to run, the time is over and there is nothing left to do.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json_args.h"
#include "reply.h"
#include "sequential/base/clock.h"
#include "sequential/services/builtin.h"

namespace sequential::services {
namespace {

constexpr std::int64_t kSleepMsMax = 10ll * 366 * 86'400'000;  // ten years

Error refuse(std::string message) { return {Errc::invalid_arguments, std::move(message), "args"}; }

// Reads `count` digits at `at`, or nullopt.
std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return std::nullopt;
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// The form in which JSON.stringify writes a Date: 2026-11-21T10:00:00.000Z (fraction optional).
std::optional<std::int64_t> parse_utc(std::string_view text) {
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2),
             hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  std::int64_t millis = 0;
  std::string_view rest = text.substr(19);
  if (rest.size() == 5 && rest.front() == '.') {
    const auto fraction = digits(rest, 1, 3);
    if (!fraction) return std::nullopt;
    millis = *fraction;
    rest.remove_prefix(4);
  }
  const std::chrono::year_month_day date{std::chrono::year{*year},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (rest != "Z" || !date.ok() || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  const auto days = std::chrono::sys_days{date}.time_since_epoch().count();
  return ((static_cast<std::int64_t>(days) * 24 + *hour) * 60 + *minute) * 60'000 +
         *second * 1000 + millis;
}

class TimerService final : public Service {
 public:
  std::string_view name() const override { return "timer"; }
  std::string_view description() const override {
    return "Durable waits: they survive restarts and cost nothing while they last.";
  }
  std::vector<MethodInfo> methods() const override {
    return {{"sleep", "Waits the given milliseconds."},
            {"until", "Waits until a time: milliseconds since 1970, or a Date."}};
  }
  CallPolicy policy(std::string_view /*method*/) const override { return {}; }

  Result<Millis> delay(std::string_view method, std::string_view args) const override {
    SEQUENTIAL_TRY(const auto arguments, json_arguments(args));
    const std::string_view first = arguments.empty() ? std::string_view{} : arguments.front();
    std::optional<double> wait = json_double(first);
    if (method == "until") {
      if (const auto text = json_text_value(first)) {
        if (const auto at = parse_utc(*text)) wait = static_cast<double>(*at);
      }
      if (!wait) {
        return refuse("timer.until takes milliseconds since 1970, or a Date");
      }
      wait = *wait - static_cast<double>(system_clock().now().ms);
    } else if (!wait) {
      return refuse("timer.sleep takes a number of milliseconds");
    }
    if (*wait > static_cast<double>(kSleepMsMax)) {
      return refuse("timer." + std::string(method) + " waits at most ten years");
    }
    // Rounded up: a timer never fires early. The past is now, as with setTimeout.
    return Millis{static_cast<std::int64_t>(std::ceil(std::max(0.0, *wait)))};
  }

  void call(CallRequest request, CallDone done) override {
    // By hand, without the stored delay, a wrong argument must still be told.
    const auto checked = delay(request.method, request.args);
    done(checked.has_error() ? failed(checked.error()) : CallReply::ok("null"));
  }
};

}  // namespace

std::shared_ptr<Service> make_timer_service() { return std::make_shared<TimerService>(); }

}  // namespace sequential::services
