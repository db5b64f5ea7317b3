#include "source_map.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "sequential/base/base64.h"
#include "sequential/base/json_text.h"

namespace sequential::engine {
namespace {

constexpr std::uint32_t kNoSource = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t kNumberMax = std::numeric_limits<int>::max() - 1;  // shown plus one

// What we want of the map's JSON; the rest, such as the sources' contents, is passed over without
// being kept.
class Reader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::string names;  // of the sources
  std::vector<std::uint32_t> name_ends;
  std::string root, mappings;

  bool null() override { return source(""); }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool string(string_t& text) override {
    if (depth_ == 1 && key_ == "mappings") mappings = std::move(text);
    if (depth_ == 1 && key_ == "sourceRoot") root = std::move(text);
    return source(text);
  }
  bool key(string_t& text) override {
    if (depth_ == 1) key_ = text;
    return true;
  }
  bool start_object(std::size_t) override { return ++depth_ > 0; }
  bool end_object() override { return --depth_ >= 0; }
  bool start_array(std::size_t) override { return ++depth_ > 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  bool source(std::string_view name) {
    if (depth_ != 2 || key_ != "sources") return true;
    names += clip_utf8(name, kMapSourceNameBytesMax);
    name_ends.push_back(static_cast<std::uint32_t>(names.size()));
    return name_ends.size() <= kMapSourcesMax && names.size() <= kMapNamesBytesMax;
  }

  int depth_ = 0;
  std::string key_;  // of the outermost object
};

// The base64 of a line that is nothing but a map, empty for any other line.
std::string_view map_of_line(std::string_view line) {
  constexpr std::array<std::string_view, 2> kMarks = {"//# sourceMappingURL=",
                                                      "//@ sourceMappingURL="};
  constexpr std::string_view kType = "data:application/json", kEncoding = ";base64,";
  if (std::none_of(kMarks.begin(), kMarks.end(),
                   [line](std::string_view mark) { return line.starts_with(mark); })) {
    return {};
  }
  line.remove_prefix(kMarks[0].size());
  const auto comma = line.find(',');
  if (comma == std::string_view::npos || !line.starts_with(kType)) return {};
  if (!line.substr(0, comma + 1).ends_with(kEncoding)) return {};
  line.remove_prefix(comma + 1);
  const bool plain = std::all_of(line.begin(), line.end(),
                                 [](char c) { return base64_digit(c) >= 0 || c == '='; });
  return plain ? line : std::string_view{};
}

// A number of a mapping ("VLQ": five bits a digit, the lowest bit of the whole is the sign).
bool read_number(std::string_view text, std::size_t& at, std::int64_t& value) {
  constexpr int kShiftMax = 30;  // a 32-bit number and its sign take seven digits
  std::uint64_t bits = 0;
  for (int shift = 0;; shift += 5) {
    if (at == text.size() || shift > kShiftMax) return false;
    const int digit = base64_digit(text[at++]);
    if (digit < 0) return false;
    bits |= static_cast<std::uint64_t>(digit & 31) << shift;
    if ((digit & 32) == 0) break;
  }
  const auto size = static_cast<std::int64_t>(bits >> 1);
  value = (bits & 1) != 0 ? -size : size;
  return true;
}

// The running numbers that a mapping's differences are added to.
struct Cursor {
  std::int64_t column = 0, source = 0, source_line = 0, source_column = 0, name = 0;
};

// Reads one mapping up to its end. -1: it is none; otherwise how many numbers it has.
int read_mapping(std::string_view text, std::size_t& at, Cursor& cursor) {
  const std::array<std::int64_t*, 5> numbers = {&cursor.column, &cursor.source, &cursor.source_line,
                                                &cursor.source_column, &cursor.name};
  int count = 0;
  while (at < text.size() && text[at] != ',' && text[at] != ';') {
    std::int64_t difference = 0;
    if (count == 5 || !read_number(text, at, difference)) return -1;
    std::int64_t& number = *numbers[static_cast<std::size_t>(count++)];
    number += difference;
    if (number < 0 || number > kNumberMax) return -1;
  }
  return count == 1 || count == 4 || count == 5 ? count : -1;
}

// The maps that are read, the oldest first.
struct ReadMaps {
  std::vector<SourceMap*> maps;
  std::size_t bytes = 0;
};
ReadMaps& read_maps() {
  static ReadMaps all;
  return all;
}

template <class T>
std::size_t bytes_in(const std::vector<T>& list) {
  return list.capacity() * sizeof(T);
}

}  // namespace

std::shared_ptr<SourceMap> SourceMap::take_from(std::string& code) {
  const auto last = code.find_last_not_of(" \t\r\n");
  if (last == std::string::npos) return nullptr;
  const auto begin = code.rfind('\n', last) + 1;  // npos + 1 is 0
  // Such a line, after which the code ends, can only be a comment: were it inside of a text or
  // another comment, that would not be closed.
  const auto encoded = map_of_line(std::string_view(code).substr(begin, last + 1 - begin));
  if (encoded.empty()) return nullptr;
  auto map = std::shared_ptr<SourceMap>(new SourceMap(std::string(encoded)));
  code.erase(begin, last + 1 - begin);
  code.shrink_to_fit();
  return map;
}

void SourceMap::read() {
  read_ = true;
  if (!read_parts()) {
    forget();
    encoded_ = {};
  } else {
    keep();
  }
}

bool SourceMap::read_parts() {
  const auto json = from_base64(encoded_);
  if (!json) return false;
  Reader reader;
  if (!nlohmann::json::sax_parse(*json, &reader)) return false;
  names_ = std::move(reader.names);
  name_ends_ = std::move(reader.name_ends);
  if (!reader.root.empty() && !reader.root.ends_with('/')) reader.root += '/';
  root_ = clip_utf8(reader.root, kMapSourceNameBytesMax);
  return read_mappings(reader.mappings);
}

// Counts it, and makes room for it.
void SourceMap::keep() {
  names_.shrink_to_fit();
  name_ends_.shrink_to_fit();
  segments_.shrink_to_fit();
  line_begins_.shrink_to_fit();
  ReadMaps& all = read_maps();
  bytes_ = root_.capacity() + names_.capacity() + bytes_in(name_ends_) + bytes_in(segments_) +
           bytes_in(line_begins_);
  all.bytes += bytes_;
  all.maps.push_back(this);
  while (all.bytes > kMapsBytesMax && all.maps.size() > 1) all.maps.front()->forget();
}

void SourceMap::forget() {
  ReadMaps& all = read_maps();
  std::erase(all.maps, this);
  all.bytes -= std::exchange(bytes_, 0);
  read_ = false;
  root_ = {};
  names_ = {};
  name_ends_ = {};
  segments_ = {};
  line_begins_ = {};
}

std::size_t SourceMap::bytes_of_all() { return read_maps().bytes; }

bool SourceMap::read_mappings(std::string_view text) {
  Cursor cursor;
  line_begins_.push_back(0);
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == ';') {
      if (!end_line()) return false;
      cursor.column = 0;
      ++at;
      continue;
    }
    if (text[at] == ',') {
      ++at;
      continue;
    }
    const int count = read_mapping(text, at, cursor);
    const bool written = count > 1;
    if (count < 0 || (written && cursor.source >= static_cast<std::int64_t>(name_ends_.size()))) {
      return false;
    }
    if (segments_.size() == kMapPositionsMax) return false;
    segments_.push_back({.column = static_cast<std::uint32_t>(cursor.column),
                         .source = written ? static_cast<std::uint32_t>(cursor.source) : kNoSource,
                         .source_line = static_cast<std::uint32_t>(cursor.source_line),
                         .source_column = static_cast<std::uint32_t>(cursor.source_column)});
  }
  return end_line();
}

// Differences of columns may be negative.
bool SourceMap::end_line() {
  const auto begin = segments_.begin() + line_begins_.back();
  const auto before = [](const Segment& a, const Segment& b) { return a.column < b.column; };
  if (!std::is_sorted(begin, segments_.end(), before)) {
    std::stable_sort(begin, segments_.end(), before);
  }
  line_begins_.push_back(static_cast<std::uint32_t>(segments_.size()));
  return line_begins_.size() <= kMapLinesMax + 1;
}

std::optional<SourceMap::Position> SourceMap::find(int line, int column) {
  if (!read_ && !encoded_.empty()) read();
  if (!read_ || line < 1 || column < 1) return std::nullopt;
  const auto index = static_cast<std::size_t>(line) - 1;
  if (index + 1 >= line_begins_.size()) return std::nullopt;
  const auto begin = segments_.begin() + line_begins_[index];
  const auto end = segments_.begin() + line_begins_[index + 1];
  const auto wanted = static_cast<std::uint32_t>(column) - 1;
  // The last that begins at the column or before it.
  const auto after = std::upper_bound(
      begin, end, wanted, [](std::uint32_t at, const Segment& one) { return at < one.column; });
  if (after == begin) return std::nullopt;
  const Segment& segment = *std::prev(after);
  if (segment.source == kNoSource) return std::nullopt;
  const std::size_t name = segment.source == 0 ? 0 : name_ends_[segment.source - 1];
  return Position{.source = root_ + names_.substr(name, name_ends_[segment.source] - name),
                  .line = static_cast<int>(segment.source_line) + 1,
                  .column = static_cast<int>(segment.source_column) + 1};
}

bool is_of_the_author(std::string_view source) {
  constexpr std::string_view kPackages = "node_modules/";
  const auto at = source.find(kPackages);
  return at == std::string_view::npos || (at > 0 && source[at - 1] != '/');
}

}  // namespace sequential::engine
