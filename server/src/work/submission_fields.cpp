#include "work/submission_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "sequential/base/json_text.h"
#include "work/submissions.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kTagKeyMax = 64, kTagValueMax = 256;  // bytes

Error wrong(const std::string& field, const std::string& why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

// A key is part of a parameter of GET /runs, tag=KEY:VALUE, and of paths into JSON.
bool is_tag_key(std::string_view key) {
  return !key.empty() && key.size() <= kTagKeyMax &&
         std::none_of(key.begin(), key.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == ':';
         });
}

bool is_tag_value(std::string_view value) {
  return value.size() <= kTagValueMax && std::none_of(value.begin(), value.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20;
         });
}

Result<void> check_tag(const Json& tags, const std::string& whole_field, const std::string& name,
                       const Json& value) {
  const std::string field = tags.is_array() ? whole_field : whole_field + "." + name;
  std::string_view key = name, text;
  if (tags.is_array()) {
    if (!value.is_string()) return wrong(field, "must be a list of texts, or an object");
    const std::string_view whole = value.get_ref<const std::string&>();
    key = whole.substr(0, whole.find(':'));
    text = whole.substr(std::min(key.size() + 1, whole.size()));
  } else if (value.is_string()) {
    text = value.get_ref<const std::string&>();
  } else if (!value.is_number() && !value.is_boolean()) {
    return wrong(field, "must be a text, a number, true or false");
  }
  if (!is_tag_key(key)) {
    return wrong(field, R"(has a key that is not 1 to 64 bytes without : " \ and controls)");
  }
  if (is_tag_value(text)) return success();
  return wrong(field, "has a value of more than 256 bytes, or with control characters");
}

}  // namespace

Result<std::string> read_tags(const Json& tags, const std::string& field, int tags_max) {
  if (!tags.is_object() && !tags.is_array()) {
    return wrong(field, "must be a list or an object");
  }
  if (tags.size() > static_cast<std::size_t>(tags_max)) {
    return wrong(field, "has more than search.tags_max tags: " + std::to_string(tags_max));
  }
  for (const auto& [name, value] : tags.items()) {
    SEQUENTIAL_TRY(check_tag(tags, field, name, value));
  }
  std::string text = tags.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kTagsBytesMax) return text;
  return wrong(field, "is larger than 4096 bytes");
}

Result<void> check_key(const std::string& key) {
  if (!key.starts_with(kOwnKeys)) return success();
  return wrong("idempotency_key",
               "may not begin with " + std::string(kOwnKeys) + ", as the server's own do");
}

Result<void> read_key_header(const HttpRequest& request, std::string& key) {
  if (!request.idempotency_key) return success();
  const std::string field = "Idempotency-Key";
  const std::string_view given = unquoted(*request.idempotency_key);
  if (given.empty() || given.size() > kKeyBytesMax || !is_valid_utf8(given)) {
    return wrong(field, "must have 1 to 256 bytes of UTF-8");
  }
  if (!key.empty() && key != given) {
    return wrong(field, "is not the key in the body's options; send one, or the same twice");
  }
  key = given;
  return success();
}

}  // namespace sequential::server
