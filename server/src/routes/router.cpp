#include "routes/router.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "async.h"
#include "routes/route_table.h"
#include "sequential/base/bytes.h"
#include "sequential/base/log.h"

namespace sequential::server {
namespace {

bool is(const HttpRequest& request, std::size_t index, std::string_view name) {
  return request.segments.size() > index && request.segments[index] == name;
}

bool is_chain_route(const HttpRequest& request) {
  return request.segments.size() == 2 && is(request, 0, "stack") && is(request, 1, "process");
}

// For probes, for whoever was refused and follows the `type` of the refusal, and for tools that
// read what the API is. Nothing here is about this installation.
bool is_open(const HttpRequest& request) {
  return is(request, 0, "livez") || is(request, 0, "errors") || is(request, 0, "openapi.json");
}

// "name:port" or "[v6]:port" → name in lower case, brackets kept.
std::string host_name(std::string_view host) {
  const auto bracket = host.rfind(']');
  const auto colon = host.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  std::string name(host.substr(0, has_port ? colon : host.size()));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

// A browser sends Origin with every request that a page of another site makes it send.
Result<void> check_origin(const RouteContext& context, const HttpRequest& request) {
  const auto& names = context.options.host_names;
  if (!names.empty() &&
      std::find(names.begin(), names.end(), host_name(request.host)) == names.end()) {
    return Error{Errc::forbidden,
                 "this server does not answer for the host name in the Host "
                 "header; allow it with server.allowed_hosts"};
  }
  if (request.origin.empty()) return success();
  const auto scheme = request.origin.find("://");
  if (scheme == std::string::npos || request.origin.substr(scheme + 3) != request.host) {
    return Error{Errc::forbidden, "requests from pages of another origin are refused"};
  }
  return success();
}

Result<void> check_token(const RouteContext& context, const HttpRequest& request) {
  if (context.options.api_token.empty()) return success();
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view given = request.authorization;
  const bool right =
      given.starts_with(kScheme) &&
      equal_constant_time(sha256(given.substr(kScheme.size())), sha256(context.options.api_token));
  if (right) return success();
  return Error{Errc::unauthorized, "send the API token: Authorization: Bearer …"};
}

// Hands a request to its route, if there is one and it takes what was asked.
Answer dispatch(RouteContext& context, const HttpRequest& request) {
  const RouteMatch match = match_route(request);
  if (match.allowed.empty()) co_return not_found();
  if (match.route == nullptr) {
    if (request.verb == Verb::put && is(request, 0, "tasks") && is(request, 1, "execute")) {
      co_return problem(Error{Errc::invalid_field,
                              "name may not be execute: /tasks/execute is where runs are started; "
                              "publish the task under another name",
                              "name"});
    }
    co_return method_not_allowed(match.allowed);
  }
  if (!match.route->any_query) {
    const auto parameters = check_query(request.query, match.route->query);
    if (parameters.has_error()) co_return problem(parameters.error());
  }
  co_return co_await match.route->handler(context, request);
}

}  // namespace

std::uint64_t body_limit(const RouteContext& context, const HttpRequest& request) {
  if (request.verb == Verb::get || request.verb == Verb::head) return 0;
  if (is_chain_route(request)) return context.options.chain_bytes_max;
  if (is_webhook_route(request) || (is(request, 0, "runs") && is(request, 2, "signals"))) {
    return context.options.signal_bytes_max;
  }
  if (is(request, 0, "tasks") && is(request, 1, "execute")) return context.options.submit_bytes_max;
  if (is(request, 0, "tasks")) return context.options.publish_bytes_max;
  if (is(request, 0, "runs") && is(request, 2, "fork")) return context.options.submit_bytes_max;
  return context.options.other_bytes_max;
}

Answer route(RouteContext& context, HttpRequest request) {
  struct Counted {
    explicit Counted(std::atomic<int>& n) : count(n) { ++count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --count; }
    std::atomic<int>& count;
  };
  const Counted counted(context.answering);
  try {
    if (is_chain_route(request) && !request.chain.empty()) {
      const auto verified = context.signer.verify(request.chain, request.body);
      if (verified.has_error()) co_return problem(verified.error());
      co_return co_await route_stack(context, request);
    }
    if (is_open(request)) co_return co_await dispatch(context, request);
    if (is_webhook_route(request)) co_return co_await route_webhooks(context, request);
    const auto origin = check_origin(context, request);
    if (origin.has_error()) co_return problem(origin.error());
    const auto token = check_token(context, request);
    if (token.has_error()) co_return problem(token.error());
    co_return co_await dispatch(context, request);
  } catch (const std::exception& error) {
    log_error("a request ended by an exception", {{"path", request.path}, {"what", error.what()}});
  }
  co_return problem(Error{Errc::internal, "an unexpected error; the server's log says more"});
}

HttpResponse not_found() {
  return problem(Error{Errc::not_found, "there is nothing at this path"});
}

HttpResponse method_not_allowed(std::string_view allowed) {
  auto response =
      problem(Error{Errc::method_not_allowed, "this path takes only " + std::string(allowed)});
  response.headers.emplace_back("Allow", std::string(allowed));
  return response;
}

Result<std::int64_t> parse_id(std::string_view text) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size() || id <= 0) {
    return Error{Errc::not_found, "ids are positive whole numbers"};
  }
  return id;
}

Result<std::int64_t> query_int(const HttpRequest& request, std::string_view name,
                               std::int64_t fallback, std::int64_t min, std::int64_t max) {
  const std::string text = query_value(request.query, name);
  if (text.empty()) return fallback;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || value < min || value > max) {
    return Error{Errc::invalid_field,
                 std::string(name) + " must be a whole number from " + std::to_string(min) +
                     " to " + std::to_string(max),
                 std::string(name)};
  }
  return value;
}

Result<void> check_name(std::string_view name, std::string_view field) {
  constexpr std::size_t kNameMax = 128;
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  const bool good = !name.empty() && name.size() <= kNameMax && name.front() != '.' &&
                    std::all_of(name.begin(), name.end(), fits);
  if (good) return success();
  return Error{
      Errc::invalid_field,
      std::string(field) + " must be 1 to 128 of A-Z a-z 0-9 . _ - and not begin with a dot",
      std::string(field)};
}

boost::asio::awaitable<Result<storage::TaskRun>> wait_for_run(
    RouteContext& context, TaskRunId run, MonoTime deadline,
    std::unique_ptr<RunWatch::Ticket> ticket, bool surely_running) {
  // Ends on other nodes are not announced here: look again at this pace meanwhile.
  constexpr Millis kLookAgain{1'000};
  auto read = [&context, run](auto done) { context.store.run(run, std::move(done)); };
  for (;;) {
    if (!ticket) {  // taken before the state is read, so that no end is missed
      const auto until = std::min(deadline, context.clock.monotonic() + kLookAgain);
      ticket = context.processor.watch().enter(co_await net::this_coro::executor, run, until);
    }
    if (!surely_running) {
      auto now = co_await completes<Result<storage::TaskRun>>(read);
      const bool late = context.clock.monotonic() >= deadline || !context.ready;
      if (now.has_error() || late || storage::is_terminal(now.value().status) ||
          now.value().status == storage::RunStatus::paused) {
        co_return now;
      }
    }
    surely_running = false;
    co_await ticket->wait();
    ticket.reset();
  }
}

}  // namespace sequential::server
