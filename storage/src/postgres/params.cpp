// Statements, and PostgreSQL's binary formats of parameters.

#include <type_traits>

#include "postgres/connection.h"

namespace sequential::storage::postgres {
namespace {

constexpr std::int32_t kByteaOid = 17, kInt8Oid = 20, kInt2Oid = 21, kInt4Oid = 23;

template <class T>
void put(std::string& out, T value) {
  auto bits = static_cast<std::make_unsigned_t<T>>(value);
  char bytes[sizeof(T)];
  for (std::size_t i = sizeof(T); i-- > 0; bits = static_cast<decltype(bits)>(bits >> 7 >> 1)) {
    bytes[i] = static_cast<char>(bits & 0xff);
  }
  out.append(bytes, sizeof(T));
}

template <class T>
std::string big_endian(T value) {
  std::string out;
  put(out, value);
  return out;
}

std::string array_head(std::size_t size, std::int32_t type) {
  std::string out;
  put<std::int32_t>(out, size == 0 ? 0 : 1);  // dimensions
  put<std::int32_t>(out, 0);                  // no NULLs
  put<std::int32_t>(out, type);
  if (size > 0) {
    put<std::int32_t>(out, static_cast<std::int32_t>(size));
    put<std::int32_t>(out, 1);  // the first index
  }
  return out;
}

template <class T, class Values>
std::string array_of(const Values& values, std::int32_t type) {
  std::string out = array_head(values.size(), type);
  for (const auto value : values) {
    put<std::int32_t>(out, sizeof(T));
    put<T>(out, static_cast<T>(value));
  }
  return out;
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14'695'981'039'346'656'037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211u;
  return hash;
}

}  // namespace

Statement::Statement(std::string text)
    : name("sequential_" + std::to_string(fnv1a(text))), sql(std::move(text)) {}

Params& Params::add(std::int64_t value) {
  values_.push_back(big_endian(value));
  return *this;
}
Params& Params::add(int value) {
  values_.push_back(big_endian(static_cast<std::int32_t>(value)));
  return *this;
}
Params& Params::add_small(int value) {
  values_.push_back(big_endian(static_cast<std::int16_t>(value)));
  return *this;
}
Params& Params::add(bool value) {
  values_.emplace_back(1, value ? '\1' : '\0');
  return *this;
}
Params& Params::add(std::string_view bytes) {
  values_.emplace_back(bytes);
  return *this;
}
Params& Params::add(const std::vector<std::int64_t>& values) {
  values_.push_back(array_of<std::int64_t>(values, kInt8Oid));
  return *this;
}
Params& Params::add(const std::vector<int>& values) {
  values_.push_back(array_of<std::int32_t>(values, kInt4Oid));
  return *this;
}
Params& Params::add_small(const std::vector<int>& values) {
  values_.push_back(array_of<std::int16_t>(values, kInt2Oid));
  return *this;
}
Params& Params::add(const std::vector<std::string_view>& values) {
  std::string out = array_head(values.size(), kByteaOid);
  for (const std::string_view value : values) {
    put<std::int32_t>(out, static_cast<std::int32_t>(value.size()));
    out.append(value);
  }
  values_.push_back(std::move(out));
  return *this;
}

}  // namespace sequential::storage::postgres
