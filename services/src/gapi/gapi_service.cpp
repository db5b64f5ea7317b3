// gapi: any method of the Google APIs in the table of facts, as a service account that impersonates
// the users of its domain.
//
// One attempt: arguments -> request -> settings -> token -> answer, with retries in between.

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gapi/answer.h"
#include "gapi/facts.h"
#include "gapi/request.h"
#include "gapi/retry.h"
#include "gapi/scopes.h"
#include "gapi/settings.h"
#include "gapi/tokens.h"
#include "http_call.h"
#include "json_args.h"
#include "reply.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"
#include "suggest.h"
#include "timer_queue.h"

namespace sequential::services {
namespace gapi {
namespace {

constexpr std::string_view kDefaultEndpoint = "https://{host}";
constexpr int kRedirectsMax = 5;
// A longer wait than this is the durable retry's, which costs nothing while it lasts.
constexpr std::chrono::seconds kPauseMax{15};
// Google compresses only for clients that say "gzip" in this header too.
constexpr const char* kUserAgent = "sequential-runner/" SEQUENTIAL_VERSION " (gzip)";

// What all calls share. Shared itself, because calls in flight use it until they are answered.
struct Core {
  Core(std::shared_ptr<Keystore> keystore, HttpClient& client, GapiOptions settings,
       const Clock& the_clock)
      : http(client),
        options(std::move(settings)),
        clock(the_clock),
        settings_cache(std::make_shared<SettingsCache>(std::move(keystore), the_clock)),
        tokens(std::make_shared<TokenCache>(client, timers, options.endpoint, the_clock)) {}

  HttpClient& http;
  const GapiOptions options;
  const Clock& clock;
  const std::shared_ptr<TimerQueue> timers = std::make_shared<TimerQueue>();
  const std::shared_ptr<SettingsCache> settings_cache;
  const std::shared_ptr<TokenCache> tokens;
};

class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::shared_ptr<Core> core, const MethodFacts& method, CallRequest call, CallDone done)
      : core_(std::move(core)), method_(method), call_(std::move(call)), done_(std::move(done)) {}

  void start() {
    if (auto prepared = prepare(); prepared.has_error()) {
      return done_(failed(prepared.error()));
    }
    core_->settings_cache->get([self = shared_from_this()](SettingsResult settings) {
      self->with_settings(std::move(settings));
    });
  }

 private:
  Result<void> prepare() {
    SEQUENTIAL_TRY(const auto arguments, json_arguments(call_.args));
    const std::string_view params = arguments.empty() ? std::string_view{} : arguments[0];
    const std::string_view second = arguments.size() > 1 ? arguments[1] : std::string_view{};
    SEQUENTIAL_TRY(request_, build_request(method_, params, core_->options.endpoint));
    SEQUENTIAL_TRY(options_, read_options(second, call_.options));
    sending_ = read_sending(call_.options);
    if (json_is_object(second) && json_member(second, "idempotent") == "true") {
      sending_.idempotent = true;
    }
    if (options_.subject.empty()) options_.subject = gmail_user(method_, params);
    wanted_ = {wants_content(params), options_.as_base64};
    request_.deadline = call_.deadline;
    request_.response_bytes_max = core_->options.response_bytes_max;
    request_.operator_trusted = core_->options.endpoint != kDefaultEndpoint;
    request_.send_once = sending_.at_most_once;
    request_.redirects_max = method_.verb == "GET" ? kRedirectsMax : 0;
    request_.headers.emplace_back("User-Agent", kUserAgent);
    if (!call_.idempotency_key.empty()) {
      request_.headers.emplace_back("x-idempotency-key", call_.idempotency_key);
    }
    return success();
  }

  void with_settings(SettingsResult settings) {
    if (settings.has_error()) {
      const Errc code = settings.error().code;
      return done_(failed(settings.error(),
                          code == Errc::unavailable || code == Errc::overloaded));
    }
    const Settings& known = *settings.value();
    ask_.account = known.account;
    ask_.subject = options_.subject.empty() ? known.admin_email : options_.subject;
    ask_.deadline = call_.deadline;
    if (ask_.subject.empty()) {
      return done_(failed(Errc::key_not_found,
                          "whom to impersonate is not known: set the administrator's address with "
                          "sequential-runner keystore set default GAPI_ADMIN_EMAIL, or give "
                          "{subject: …} with the call"));
    }
    std::vector<std::string> scopes = options_.scopes;
    if (scopes.empty()) {
      auto chosen = choose_scopes(method_, known.authorised);
      if (chosen.has_error()) return done_(failed(chosen.error()));
      scopes = std::move(chosen).value();
    }
    for (const std::string& scope : scopes) {
      ask_.scopes += (ask_.scopes.empty() ? "" : " ") + scope;
    }
    if (!known.account->quota_project_id.empty()) {
      request_.headers.emplace_back("x-goog-user-project", known.account->quota_project_id);
    }
    get_token();
  }

  void get_token() {
    core_->tokens->get(ask_, [self = shared_from_this()](const TokenResult& result) {
      if (result.failure != nullptr) return self->no_token(*result.failure);
      self->token_ = result.token;
      self->send();
    });
  }

  void no_token(const TokenFailure& failure) {
    if (!failure.transient) core_->settings_cache->forget();  // the next call sees a repaired key
    CallError error;
    error.errc = failure.error.code;
    error.message = failure.error.message;
    error.code = failure.oauth_code;
    error.status = failure.status;
    error.retryable = failure.transient;  // the call itself was not sent
    done_(CallReply::fail(std::move(error)));
  }

  void send() {
    HttpRequest request = request_;
    request.headers.emplace_back("Authorization", "Bearer " + token_);
    core_->http.send(std::move(request), [self = shared_from_this()](Result<HttpResponse> answer) {
      self->answered(std::move(answer));
    });
  }

  // Retries of this attempt, and durable ones, are for requests that may be repeated.
  bool repeatable() const {
    return is_idempotent_method(method_.verb) || sending_.idempotent;
  }

  void answered(Result<HttpResponse> answer) {
    if (answer.has_error()) return no_answer(answer.error());
    HttpResponse& response = answer.value();
    if (response.status >= 200 && response.status <= 299) {
      return done_(read_success(method_, wanted_, std::move(response)));
    }
    if (response.status == 401 && !refreshed_) {
      refreshed_ = true;
      core_->tokens->refused(ask_, token_);
      return get_token();
    }
    bool rate_limited = false;
    CallError error = read_failure(method_, response, rate_limited);
    const bool later = rate_limited || is_retryable_status(response.status);
    error.retryable = later && repeatable() && !sending_.at_most_once;
    error.retry_after = retry_after(response, core_->clock.now()).value_or(Millis{0});
    retry_or_fail(std::move(error));
  }

  void no_answer(const Error& failure) {
    CallError error = transport_error(failure, method_.verb, sending_);
    error.retryable = error.retryable && repeatable() && !sending_.at_most_once;
    retry_or_fail(std::move(error));
  }

  void retry_or_fail(CallError error) {
    const Millis pause = std::max(error.retry_after, retry_pause(retries_ + 1, random01()));
    const MonoTime at = system_clock().monotonic() + pause;
    if (!error.retryable || error.errc == Errc::shutting_down || retries_ >= kRetriesMax ||
        pause > kPauseMax || at >= call_.deadline) {
      return done_(CallReply::fail(std::move(error)));
    }
    ++retries_;
    core_->timers->at(at, [self = shared_from_this(), error = std::move(error)](Timer timer) {
      if (timer == Timer::due) return self->get_token();  // it may have run out meanwhile
      self->done_(CallReply::fail(error));
    });
  }

  const std::shared_ptr<Core> core_;
  const MethodFacts& method_;
  const CallRequest call_;
  const CallDone done_;
  // Steps of one attempt follow each other, so these need no lock.
  HttpRequest request_;
  CallOptions options_;
  Sending sending_;
  Wanted wanted_;
  TokenCache::Ask ask_;
  std::string token_;
  int retries_ = 0;
  bool refreshed_ = false;
};

class GapiService final : public Service {
 public:
  GapiService(std::shared_ptr<Keystore> keystore, HttpClient& http, GapiOptions options,
              const Clock& clock)
      : core_(std::make_shared<Core>(std::move(keystore), http, std::move(options), clock)) {}
  ~GapiService() override { core_->timers->stop(); }

  std::string_view name() const override { return "gapi"; }
  std::string_view description() const override {
    return "Google APIs (Gmail, Directory, Drive, Calendar, Sheets, People) by service account.";
  }
  std::vector<MethodInfo> methods() const override {
    std::vector<MethodInfo> infos;
    infos.reserve(all_methods().size());
    for (const MethodFacts& method : all_methods()) {
      infos.push_back({std::string(method.name),
                       std::string(method.verb) + " https://" + std::string(api_of(method).host) +
                           "/" + std::string(method.path)});
    }
    return infos;
  }
  CallPolicy policy(std::string_view /*method*/) const override {
    static constexpr std::array<std::string_view, 4> kOwn{"subject", "scopes", "responseType",
                                                          "encoding"};
    CallPolicy policy;
    policy.own_options = kOwn;
    return policy;
  }

  void call(CallRequest request, CallDone done) override {
    const MethodFacts* method = find_method(request.method);
    if (method == nullptr) {
      std::vector<std::string_view> names;
      for (const MethodFacts& each : all_methods()) names.push_back(each.name);
      const std::string hint = suggestion(request.method, names);
      return done(failed(Errc::unknown_method, "no gapi method \"" + clip_utf8(request.method, 80) +
                                                   "\"" + (hint.empty() ? "" : "; " + hint)));
    }
    std::make_shared<Attempt>(core_, *method, std::move(request), std::move(done))->start();
  }

 private:
  const std::shared_ptr<Core> core_;
};

}  // namespace
}  // namespace gapi

std::shared_ptr<Service> make_gapi_service(std::shared_ptr<Keystore> keystore, HttpClient& http,
                                           GapiOptions options, const Clock& clock) {
  return std::make_shared<gapi::GapiService>(std::move(keystore), http, std::move(options), clock);
}

}  // namespace sequential::services
