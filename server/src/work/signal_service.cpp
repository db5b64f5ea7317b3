#include "work/signal_service.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/signals.h"
#include "work/call_key.h"
#include "work/inner_service.h"
#include "work/until_stored.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kNameMax = 128;
constexpr std::size_t kTokenBytes = 24;  // random: 192 bits
constexpr std::size_t kTokenLength = kTokenBytes / 3 * 4;
constexpr std::int64_t kDayMs = 24ll * 3600 * 1000;
constexpr std::int64_t kWaitMax = 3'660 * kDayMs;  // ten years, as timers
constexpr std::int64_t kExpiresDefault = 7 * kDayMs;
constexpr std::int64_t kTimeMax = 8'640'000'000'000'000;  // the last Date
constexpr std::size_t kTitleMax = 200, kTextMax = 10'000, kChoiceMax = 64, kChoicesMax = 10;

Error invalid(std::string message) { return {Errc::invalid_arguments, std::move(message)}; }

services::CallReply failure(Error error) {
  services::CallError failed;
  failed.errc = error.code;
  failed.message = std::move(error.message);
  failed.retryable = error.code == Errc::unavailable || error.code == Errc::overloaded;
  return services::CallReply::fail(std::move(failed));
}

std::string error_text(Errc code, std::string name, std::string message) {
  services::CallError error;
  error.errc = code;
  error.name = std::move(name);
  error.message = std::move(message);
  return error.to_json(storage::kSignalService, storage::kSignalWait);
}

Result<std::int64_t> whole(const Json& value, const char* what, std::int64_t max) {
  const bool number = value.is_number_integer() &&
                      !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX);
  if (!number || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > max) {
    return invalid(std::string(what) + " must be a whole number from 0 to " + std::to_string(max));
  }
  return value.get<std::int64_t>();
}

bool is_wait_name(std::string_view name) {
  constexpr std::string_view kHook = "webhook:";
  if (!name.starts_with(kHook)) return is_signal_name(name);
  name.remove_prefix(kHook.size());
  return !name.empty() && name.size() <= 19 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

const char* const kNameRule =
    "the name of a signal must be 1 to 128 of A-Z a-z 0-9 . _ - and not begin with a dot";

Result<storage::SignalTake> read_wait(const storage::Work& work) {
  const Json args = Json::parse(work.args, nullptr, false);
  if (!args.is_array() || args.empty() || args.size() > 2 || !args[0].is_string()) {
    return invalid("signal.wait takes a name and, perhaps, {timeoutMs} or {until}");
  }
  storage::SignalTake take;
  take.call = work.grant;
  take.name = args[0].get<std::string>();
  if (!is_wait_name(take.name)) return invalid(kNameRule);
  // The store tells which of several waits came first by how their arguments begin.
  if (!work.args.starts_with("[\"" + take.name + "\"")) {
    return invalid("signal.wait takes its arguments without blanks: use waitForSignal");
  }
  if (args.size() == 2) {
    if (!args[1].is_object()) return invalid("the options of signal.wait must be an object");
    for (const auto& [key, value] : args[1].items()) {
      if (key == "timeoutMs") {
        SEQUENTIAL_TRY(const auto ms, whole(value, "timeoutMs", kWaitMax));
        take.timeout = Millis{ms};
      } else if (key == "until") {
        SEQUENTIAL_TRY(const auto ms, whole(value, "until", kTimeMax));
        take.until = WallTime{ms};
      } else {
        return invalid("signal.wait has no option " + clip_utf8(key, 64));
      }
    }
  }
  const bool hook = take.name.starts_with("webhook:");
  take.timeout_error = error_text(
      Errc::timeout, "TimeoutError",
      hook ? "nobody used the webhook in time" : "no signal \"" + take.name + "\" came in time");
  take.over_error = error_text(Errc::cancelled, "CancelledError", "the run is over");
  return take;
}

struct SendArguments {
  TaskRunId run;
  std::string name, payload;
};
Result<SendArguments> read_send(const std::string& text) {
  const Json args = Json::parse(text, nullptr, false);
  if (!args.is_array() || args.size() != 3 || !args[1].is_string()) {
    return invalid("signal.send takes a run's id, a name and a payload");
  }
  SEQUENTIAL_TRY(const auto run, whole(args[0], "the run's id", INT64_MAX));
  SendArguments send{TaskRunId{run}, args[1].get<std::string>(), {}};
  if (!is_signal_name(send.name)) return invalid(kNameRule);
  // The payload's own bytes, if the arguments are written as our runtime does.
  const std::string head = "[" + std::to_string(run) + ",\"" + send.name + "\",";
  send.payload = text.starts_with(head)
                     ? text.substr(head.size(), text.size() - head.size() - 1)
                     : args[2].dump(-1, ' ', false, Json::error_handler_t::replace);
  return send;
}

Result<std::string> short_text(const Json& page, const char* name, std::size_t min,
                               std::size_t max) {
  const auto found = page.find(name);
  if (found == page.end()) return std::string();
  if (!found->is_string() || found->get_ref<const std::string&>().size() < min ||
      found->get_ref<const std::string&>().size() > max) {
    return invalid(std::string("page.") + name + " must be a text of at most " +
                   std::to_string(max) + " bytes");
  }
  return found->get<std::string>();
}

Result<Json> read_page(const Json& page) {
  if (!page.is_object()) return invalid("page must be an object {title, text, choices}");
  for (const auto& [key, value] : page.items()) {
    if (key != "title" && key != "text" && key != "choices") {
      return invalid("page has no member " + clip_utf8(key, 64));
    }
  }
  SEQUENTIAL_TRY(const auto title, short_text(page, "title", 0, kTitleMax));
  SEQUENTIAL_TRY(const auto text, short_text(page, "text", 0, kTextMax));
  Json choices = page.value("choices", Json::array({"approve", "reject"}));
  bool good = choices.is_array() && !choices.empty() && choices.size() <= kChoicesMax;
  for (std::size_t i = 0; good && i < choices.size(); ++i) {
    good = choices[i].is_string() && !choices[i].get_ref<const std::string&>().empty() &&
           choices[i].get_ref<const std::string&>().size() <= kChoiceMax &&
           std::find(choices.begin(), choices.begin() + static_cast<std::ptrdiff_t>(i),
                     choices[i]) == choices.begin() + static_cast<std::ptrdiff_t>(i);
  }
  if (!good) {
    return invalid("page.choices must be 1 to 10 different texts of 1 to 64 bytes");
  }
  return Json{{"title", title}, {"text", text}, {"choices", std::move(choices)}};
}

struct HookArguments {
  Millis expires{kExpiresDefault};
  Json rules = {{"methods", {"POST"}}};
};
Result<HookArguments> read_webhook(const std::string& text) {
  const Json args = Json::parse(text, nullptr, false);
  HookArguments hook;
  if (!args.is_array() || args.size() > 1 || (args.size() == 1 && !args[0].is_object())) {
    return invalid("signal.webhook takes {methods, expiresMs, page}");
  }
  if (args.empty()) return hook;
  for (const auto& [key, value] : args[0].items()) {
    if (key == "expiresMs") {
      SEQUENTIAL_TRY(const auto ms, whole(value, "expires", kWaitMax));
      hook.expires = Millis{ms};
    } else if (key == "page") {
      SEQUENTIAL_TRY(hook.rules["page"], read_page(value));
    } else if (key == "methods") {
      const auto known = [](const Json& m) { return m == "GET" || m == "POST"; };
      if (!value.is_array() || value.empty() || value.size() > 2 ||
          !std::all_of(value.begin(), value.end(), known)) {
        return invalid("methods must be \"GET\", \"POST\" or both");
      }
      hook.rules["methods"] = value;
    } else {
      return invalid("signal.webhook has no option " + clip_utf8(key, 64));
    }
  }
  return hook;
}

class SignalService final : public InnerService {
 public:
  SignalService(net::io_context& io, storage::Store& store, const Clock& clock,
                SignalServiceOptions options)
      : io_(io),
        store_(store),
        signals_(*store.signals()),
        clock_(clock),
        options_(std::move(options)) {
    while (options_.public_url.ends_with('/')) options_.public_url.pop_back();
  }

  std::string_view name() const override { return storage::kSignalService; }
  std::string_view description() const override {
    return "Signals between runs and from outside, and webhooks.";
  }
  std::vector<services::MethodInfo> methods() const override {
    return {{"wait", "waits for a signal of the run's own: waitForSignal(name, {timeout})"},
            {"send", "sends a signal to a run: sendSignal(run, name, payload)"},
            {"webhook", "makes an address that takes one request: createWebhook(options)"}};
  }
  services::CallPolicy policy(std::string_view) const override { return {}; }

  net::awaitable<InnerReply> run(const storage::Work& work,
                                 const std::optional<storage::Lease>& handoff) override {
    if (work.method_name == "wait") co_return co_await wait(work, handoff);
    if (work.method_name == "send") co_return co_await send(work);
    co_return co_await webhook(work, handoff);
  }

 private:
  template <class T, class Write>
  net::awaitable<Result<T>> stored(Write write) {
    const MonoTime give_up = clock_.monotonic() + options_.lease.length;
    co_return co_await until_stored<T>(io_, clock_, give_up, std::move(write));
  }
  // What the store refuses for good is the call's failure. Else the claim has run out meanwhile,
  // and whoever has the next one does it again.
  static InnerReply unstored(Error error) {
    if (error.code == Errc::internal) return failure(std::move(error));
    return CallFenced{};
  }

  static InnerReply unsent(Error error) {
    if (error.code == Errc::fenced) return CallFenced{};
    return failure(std::move(error));
  }

  net::awaitable<InnerReply> wait(const storage::Work& work,
                                  const std::optional<storage::Lease>& handoff) {
    auto take = read_wait(work);
    if (take.has_error()) co_return InnerReply(failure(std::move(take).error()));
    take.value().handoff = handoff;
    auto write = [this, &take](auto done) { signals_.take(take.value(), std::move(done)); };
    auto taken = co_await stored<storage::SignalTaken>(std::move(write));
    if (taken.has_error()) co_return unstored(std::move(taken).error());
    storage::SignalTaken& got = taken.value();
    if (got.recorded) {
      co_return InnerReply(CallEnded{std::move(*got.recorded), got.failed, std::move(got.payload)});
    }
    if (got.wake) options_.wake(std::move(*got.wake));
    co_return InnerReply(CallWaits{got.due_in});
  }

  net::awaitable<InnerReply> send(const storage::Work& work) {
    auto arguments = read_send(work.args);
    if (arguments.has_error()) co_return InnerReply(failure(std::move(arguments).error()));
    storage::SignalSend send;
    send.run = arguments.value().run;
    send.name = std::move(arguments.value().name);
    send.payload = std::move(arguments.value().payload);
    const MonoTime give_up = clock_.monotonic() + options_.lease.length;
    const auto key = co_await call_key(io_, store_, clock_, give_up, work.grant, work.seq);
    if (key.has_error()) co_return unsent(key.error());
    send.key = "call:" + key.value();
    send.kept_max = options_.kept_max;
    if (options_.handoff()) send.handoff = options_.lease;
    auto write = [this, &send](auto done) { signals_.send(send, std::move(done)); };
    auto sent = co_await stored<storage::SignalSent>(std::move(write));
    if (sent.has_error()) co_return unsent(std::move(sent).error());
    if (sent.value().wake) options_.wake(std::move(*sent.value().wake));
    JsonObject result;
    result.boolean("delivered", sent.value().delivered);
    co_return InnerReply(services::CallReply::ok(std::move(result).text()));
  }

  net::awaitable<InnerReply> webhook(const storage::Work& work,
                                     const std::optional<storage::Lease>& handoff) {
    auto arguments = read_webhook(work.args);
    if (arguments.has_error()) co_return InnerReply(failure(std::move(arguments).error()));
    if (options_.public_url.empty()) {
      co_return InnerReply(failure(
          Error{Errc::config_invalid,
                "createWebhook needs the setting server.public_url: the address at which the world "
                "reaches this server, which listens on every address"}));
    }
    const std::string token = new_webhook_token();
    storage::WebhookNew hook;
    hook.call = work.grant;
    hook.key = webhook_key(token);
    hook.name = "webhook:" + std::to_string(work.seq);
    hook.expires = arguments.value().expires;
    hook.rules = arguments.value().rules.dump(-1, ' ', false, Json::error_handler_t::replace);
    JsonObject outcome;
    outcome.string("name", hook.name).string("token", token);
    outcome.string("url", options_.public_url + "/webhooks/" + token);
    outcome.number("expiresMs", hook.expires.count());
    hook.outcome = std::move(outcome).text();
    hook.handoff = handoff;
    auto write = [this, &hook](auto done) { signals_.create_webhook(hook, std::move(done)); };
    auto recorded = co_await stored<storage::OutcomeRecorded>(std::move(write));
    if (recorded.has_error()) co_return unstored(std::move(recorded).error());
    co_return InnerReply(CallEnded{std::move(recorded).value(), false, std::move(hook.outcome)});
  }

  net::io_context& io_;
  storage::Store& store_;
  storage::Signals& signals_;
  const Clock& clock_;
  SignalServiceOptions options_;
};

}  // namespace

std::shared_ptr<services::Service> make_signal_service(net::io_context& io, storage::Store& store,
                                                       const Clock& clock,
                                                       SignalServiceOptions options) {
  return std::make_shared<SignalService>(io, store, clock, std::move(options));
}

bool is_signal_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kNameMax && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), fits);
}

std::string new_webhook_token() { return to_base64url(random_bytes(kTokenBytes)); }

bool is_webhook_token(std::string_view token) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return token.size() == kTokenLength && std::all_of(token.begin(), token.end(), fits);
}

std::string webhook_key(std::string_view token) { return to_hex(sha256(token)); }

}  // namespace sequential::server
