// /webhooks/{token}: one request of somebody who was given the address answers what a run waits
// for. No other credential is asked for, and nothing is told about the run.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "routes/webhook_page.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/signals.h"
#include "work/signal_service.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

struct Rules {
  std::vector<std::string> methods;
  std::optional<ApprovalPage> page;
};

// What the service wrote (signal_service.cpp).
Rules rules_of(const std::string& text) {
  Rules rules;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return rules;
  rules.methods = json.value("methods", std::vector<std::string>());
  if (const auto page = json.find("page"); page != json.end() && page->is_object()) {
    rules.page = ApprovalPage{page->value("title", ""), page->value("text", ""),
                              page->value("choices", std::vector<std::string>())};
  }
  return rules;
}

HttpResponse guarded(HttpResponse response) {
  response.headers.emplace_back("Cache-Control", "no-store");
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return response;
}

bool wants_html(const HttpRequest& request) {
  return request.accept.find("text/html") != std::string::npos;
}

HttpResponse gone(const HttpRequest& request) {
  if (wants_html(request)) {
    return note_page(410, "This address cannot be used any more",
                     "It was answered already, or its time is over.");
  }
  return problem(Error{Errc::webhook_gone, "this address cannot be used any more"});
}

// "a=1&b=2" as an object; what is named twice is a list. Errors: bad_request.
Result<Json> fields_of(std::string_view text) {
  Json fields = Json::object();
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    std::string pair(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    std::replace(pair.begin(), pair.end(), '+', ' ');
    const auto equals = std::min(pair.find('='), pair.size());
    SEQUENTIAL_TRY(auto name, percent_decode(std::string_view(pair).substr(0, equals)));
    const auto rest = std::string_view(pair).substr(std::min(equals + 1, pair.size()));
    SEQUENTIAL_TRY(auto value, percent_decode(rest));
    if (!is_valid_utf8(name) || !is_valid_utf8(value)) {
      return Error{Errc::bad_request, "names and values must be UTF-8"};
    }
    Json& field = fields[name];
    if (field.is_null()) {
      field = std::move(value);
    } else if (field.is_array()) {
      field.push_back(std::move(value));
    } else {
      field = Json::array({std::move(field), std::move(value)});
    }
  }
  return fields;
}

bool has_type(const HttpRequest& request, std::string_view type) {
  std::string given = request.content_type.substr(0, request.content_type.find(';'));
  std::transform(given.begin(), given.end(), given.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  while (given.ends_with(' ')) given.pop_back();
  return given == type || (type == "application/json" && given.ends_with("+json"));
}

// The body as JSON text: a value, the fields of a form, or a text.
Result<std::string> body_of(const HttpRequest& request) {
  if (request.body.empty()) return std::string("null");
  if (has_type(request, "application/json")) {
    SEQUENTIAL_TRY(check_json(request.body));
    return request.body;
  }
  if (has_type(request, "application/x-www-form-urlencoded")) {
    SEQUENTIAL_TRY(const auto fields, fields_of(request.body));
    return fields.dump();
  }
  if (is_valid_utf8(request.body)) return json_string(request.body);
  JsonObject bytes;
  bytes.string("base64", base64_of(request.body));
  return std::move(bytes).text();
}

// What the task gets. `choice` only where a page asked for one.
Result<std::string> payload_of(const RouteContext& context, const HttpRequest& request,
                               const std::optional<std::string>& choice) {
  SEQUENTIAL_TRY(const auto query, fields_of(request.query));
  SEQUENTIAL_TRY(const auto body, body_of(request));
  Json headers = Json::object();
  for (const auto& [name, value] : request.fields) {
    headers[name] = is_valid_utf8(value) ? value : std::string("?");
  }
  JsonObject payload;
  if (choice) payload.string("choice", *choice);
  payload.string("method", request.verb == Verb::get ? "GET" : "POST");
  payload.raw("query", query.dump()).raw("headers", headers.dump()).raw("body", body);
  payload.string("at", iso_time(context.clock.now()));
  std::string text = std::move(payload).text();
  SEQUENTIAL_TRY(check_json(text));
  if (static_cast<std::int64_t>(text.size()) > context.options.payload_bytes_max) {
    return Error{Errc::payload_too_large, "the request is larger than limits.payload_bytes"};
  }
  return text;
}

// The choice that a page's form was sent with, or the member of a JSON body.
Result<std::string> choice_of(const HttpRequest& request, const ApprovalPage& page) {
  std::string given;
  SEQUENTIAL_TRY(const auto text, body_of(request));
  const Json body = Json::parse(text, nullptr, false);
  if (body.is_object() && body.contains("choice") && body["choice"].is_string()) {
    given = body["choice"].get<std::string>();
  }
  if (std::find(page.choices.begin(), page.choices.end(), given) != page.choices.end()) {
    return given;
  }
  return Error{Errc::invalid_field, "choice must be one of those on the page", "choice"};
}

net::awaitable<Result<void>> deliver(RouteContext& context, std::string key, std::string payload) {
  storage::WebhookAnswer answer;
  answer.key = std::move(key);
  answer.payload = std::move(payload);
  if (context.options.handoff && context.ready) answer.handoff = context.options.lease;
  auto write = [&context, &answer](auto done) {
    context.store.signals()->answer_webhook(std::move(answer), std::move(done));
  };
  auto sent = co_await completes<Result<storage::SignalSent>>(std::move(write));
  if (sent.has_error()) co_return std::move(sent).error();
  if (sent.value().wake) context.processor.wake(std::move(*sent.value().wake));
  co_return success();
}

Answer answer_page(RouteContext& context, const HttpRequest& request, const std::string& key,
                   const ApprovalPage& page) {
  // A look is no answer: mail programs and scanners open every address.
  if (request.verb == Verb::get || request.verb == Verb::head) co_return ask_page(page);
  if (request.verb != Verb::post) co_return method_not_allowed("GET, POST");
  const auto choice = choice_of(request, page);
  if (choice.has_error()) co_return problem(choice.error());
  const auto payload = payload_of(context, request, choice.value());
  if (payload.has_error()) co_return problem(payload.error());
  const auto delivered = co_await deliver(context, key, payload.value());
  if (delivered.has_error()) {
    if (delivered.error().code == Errc::webhook_gone) co_return gone(request);
    co_return problem(delivered.error());
  }
  if (!wants_html(request)) co_return json_response(200, R"({"accepted":true})");
  co_return note_page(200, "Thank you", "Your answer was recorded: " + choice.value());
}

Answer answer_plain(RouteContext& context, const HttpRequest& request, const std::string& key,
                    const std::vector<std::string>& methods) {
  const std::string method = request.verb == Verb::get    ? "GET"
                             : request.verb == Verb::post ? "POST"
                                                          : "";
  if (std::find(methods.begin(), methods.end(), method) == methods.end()) {
    std::string allowed;
    for (const auto& m : methods) allowed += (allowed.empty() ? "" : ", ") + m;
    co_return method_not_allowed(allowed);
  }
  const auto payload = payload_of(context, request, std::nullopt);
  if (payload.has_error()) co_return problem(payload.error());
  const auto delivered = co_await deliver(context, key, payload.value());
  if (delivered.has_error()) {
    if (delivered.error().code == Errc::webhook_gone) co_return gone(request);
    co_return problem(delivered.error());
  }
  co_return json_response(200, R"({"accepted":true})");
}

}  // namespace

bool is_webhook_route(const HttpRequest& request) {
  return !request.segments.empty() && request.segments[0] == "webhooks";
}

Answer route_webhooks(RouteContext& context, const HttpRequest& request) {
  const bool known = request.segments.size() == 2 && is_webhook_token(request.segments[1]) &&
                     context.store.signals() != nullptr;
  if (!known) co_return guarded(not_found());
  const std::string key = webhook_key(request.segments[1]);
  auto read = [&context, &key](auto done) {
    context.store.signals()->webhook(key, std::move(done));
  };
  const auto hook = co_await completes<Result<storage::Webhook>>(std::move(read));
  if (hook.has_error()) {
    const bool unknown = hook.error().code == Errc::not_found;
    co_return guarded(unknown ? not_found() : problem(hook.error()));
  }
  if (hook.value().gone) co_return guarded(gone(request));
  const Rules rules = rules_of(hook.value().rules);
  if (rules.page) {
    co_return guarded(co_await answer_page(context, request, key, *rules.page));
  }
  co_return guarded(co_await answer_plain(context, request, key, rules.methods));
}

}  // namespace sequential::server
