// echo: answers what it was given. For trying things out, tests and measurements.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_args.h"
#include "reply.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"

namespace sequential::services {
namespace {

CallReply echo_fail(std::string_view what) {
  CallError error;
  error.message = "echo.fail was called";
  if (json_is_string(what)) error.message = json_text_value(what).value_or(error.message);
  if (json_is_object(what)) {
    if (const auto text = json_text_value(json_member(what, "message"))) error.message = *text;
    const std::string_view code = json_member(what, "code");
    if (json_is_number(code)) {
      error.code = std::string(code);
      error.code_is_number = true;
    } else {
      error.code = json_text_value(code).value_or("");
    }
    const auto status = json_whole_number(json_member(what, "status"));
    if (status && *status >= 100 && *status <= 999) error.status = static_cast<int>(*status);
    error.retryable = json_member(what, "retryable") == "true";
    const std::string_view errors = json_member(what, "errors");
    if (json_is_array(errors)) error.errors = std::string(errors);
  }
  return CallReply::fail(std::move(error));
}

class EchoService final : public Service {
 public:
  std::string_view name() const override { return "echo"; }
  std::string_view description() const override {
    return "Answers what it is given: for trying things out and for tests.";
  }
  std::vector<MethodInfo> methods() const override {
    return {{"echo", "Resolves to its argument."},
            {"fail", "Rejects with the given message and code: fail({message, code, retryable})."}};
  }
  CallPolicy policy(std::string_view /*method*/) const override { return {}; }

  void call(CallRequest request, CallDone done) override {
    const auto arguments = json_arguments(request.args);
    if (arguments.has_error()) {
      done(failed(arguments.error()));
      return;
    }
    const std::string_view first =
        arguments.value().empty() ? std::string_view("null") : arguments.value().front();
    if (request.method == "fail") {
      done(echo_fail(first));
    } else {
      done(CallReply::ok(std::string(first)));
    }
  }
};

}  // namespace

std::shared_ptr<Service> make_echo_service() { return std::make_shared<EchoService>(); }

}  // namespace sequential::services
