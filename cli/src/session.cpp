#include "session.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "json_body.h"

namespace sequential::cli {
namespace {

int exit_of(Errc code) {
  switch (code) {
    case Errc::service_unavailable:
    case Errc::timeout:
    case Errc::response_too_large: return kExitUnreachable;
    case Errc::cancelled: return kExitStillRunning;
    default: return kExitUsage;  // everything else of our own is about what the user gave us
  }
}

int exit_of_status(int status) {
  if (status == 404) return kExitNotFound;
  if (status == 429 || status >= 500) return kExitServer;
  return kExitRefused;
}

}  // namespace

Problem problem_of(const Response& response) {
  Problem problem;
  problem.status = response.status;
  const auto body = parse_body(response.body);
  if (body && body->is_object()) {
    problem.code = text_of(*body, "code");
    problem.detail = text_of(*body, "detail");
    problem.field = text_of(*body, "field");
    problem.line = number_of(*body, "line");
    problem.column = number_of(*body, "column");
    problem.source = text_of(*body, "source");
    if (problem.detail.empty()) problem.detail = text_of(*body, "title");
  }
  if (problem.detail.empty()) {
    problem.detail = "The server answered " + std::to_string(response.status);
  }
  return problem;
}

Session::Session(const Main& main, Client client, bool json)
    : main_(main),
      client_(std::move(client)),
      json_(json),
      out_(terminal_of(main.out)),
      err_(terminal_of(main.err)) {}

Session::Answer Session::ask(const Request& request) {
  auto sent = client_.send(request);
  if (!sent) return {.exit = report(sent.error()), .response = {}};
  if (sent.value().status >= 300) {
    const int exit = report(problem_of(sent.value()));
    if (json_) print_json(sent.value().body);
    return {.exit = exit, .response = std::move(sent).value()};
  }
  return {.exit = kExitOk, .response = std::move(sent).value()};
}

int Session::report(const Error& error) const {
  note(paint(err_, Colour::red, "error: ") + harmless(error.message));
  if (error.code == Errc::service_unavailable) {
    note("Start one with: sequential-runner serve   (or name another: --server URL)");
  }
  return exit_of(error.code);
}

int Session::report(const Problem& problem) const {
  std::string text = paint(err_, Colour::red, "error: ") + harmless(problem.detail);
  if (!problem.field.empty()) text += "\n  field: " + harmless(problem.field);
  if (!problem.code.empty()) {
    text += paint(err_, Colour::dim, "\n  code:  " + harmless(problem.code));
  }
  note(text);
  if (problem.status == 401) {
    note("This server wants a token: --token-file FILE, or SEQUENTIAL_TOKEN_FILE.");
  }
  return exit_of_status(problem.status);
}

int Session::usage(const std::string& message) const {
  note(paint(err_, Colour::red, "error: ") + harmless(message));
  return kExitUsage;
}

void Session::print(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), main_.out);
  std::fflush(main_.out);
}

void Session::note(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), main_.err);
  std::fputc('\n', main_.err);
  std::fflush(main_.err);
}

void Session::print_json(std::string_view body) const {
  print(body);
  if (!body.ends_with('\n')) print("\n");
}

}  // namespace sequential::cli
