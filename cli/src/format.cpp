#include "format.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/env.h"
#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

std::string_view sequence_of(Colour colour) {
  switch (colour) {
    case Colour::none: return "";
    case Colour::red: return "\x1b[31m";
    case Colour::green: return "\x1b[32m";
    case Colour::yellow: return "\x1b[33m";
    case Colour::blue: return "\x1b[34m";
    case Colour::dim: return "\x1b[2m";
    case Colour::bold: return "\x1b[1m";
  }
  return "";
}

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

// The bytes of the character at `at`; the text is UTF-8.
std::string_view character_at(std::string_view text, std::size_t at) {
  std::size_t end = at + 1;
  while (end < text.size() && !starts_character(text[end])) ++end;
  return text.substr(at, end - at);
}

// Chinese, Japanese and Korean characters and emoji take two columns.
bool is_wide(std::string_view character) {
  if (character.size() == 4) return character >= "\xF0\x9F\x8C\x80";  // U+1F300
  return character.size() == 3 &&
         ((character >= "\xE1\x84\x80" && character <= "\xE1\x85\x9F") ||   // Hangul Jamo
          (character >= "\xE2\xBA\x80" && character <= "\xED\x9E\xA3") ||   // CJK, Hangul
          (character >= "\xEF\xBC\x81" && character <= "\xEF\xBD\xA0"));    // full-width forms
}

std::int64_t digits(std::string_view text, std::size_t at, std::size_t count) {
  std::int64_t value = -1;
  if (at + count > text.size()) return -1;
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + count, value);
  return error == std::errc{} && end == text.data() + at + count ? value : -1;
}

// Milliseconds since the epoch of "2026-11-21T21:10:03[.123]Z", or -1.
std::int64_t epoch_ms(std::string_view iso) {
  const std::int64_t year = digits(iso, 0, 4), month = digits(iso, 5, 2), day = digits(iso, 8, 2);
  const std::int64_t hour = digits(iso, 11, 2), minute = digits(iso, 14, 2);
  const std::int64_t second = digits(iso, 17, 2);
  if (year < 0 || month < 1 || day < 1 || hour < 0 || minute < 0 || second < 0) return -1;
  const std::int64_t ms = iso.size() > 20 && iso[19] == '.' ? digits(iso, 20, 3) : 0;
  const std::chrono::sys_days date{std::chrono::year{static_cast<int>(year)} /
                                   static_cast<int>(month) / static_cast<int>(day)};
  const std::int64_t days = date.time_since_epoch().count();
  const std::int64_t minutes = (days * 24 + hour) * 60 + minute;
  return minutes * 60'000 + second * 1'000 + std::max<std::int64_t>(ms, 0);
}

// Escapes what would begin another row, or another column.
std::string without_line_ends(std::string text) {
  for (std::size_t at = 0; (at = text.find_first_of("\n\t", at)) != std::string::npos; at += 2) {
    text.replace(at, 1, text[at] == '\n' ? "\\n" : "\\t");
  }
  return text;
}

// Escapes U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069.
std::string without_directions(std::string text) {
  for (std::size_t at = text.find('\xE2'); at != std::string::npos;
       at = text.find('\xE2', at + 1)) {
    const std::string_view c = character_at(text, at);
    if (c.size() != 3) continue;
    const int code = 0x2000 | (c[1] & 0x3F) << 6 | (c[2] & 0x3F);
    const bool turns = code == 0x200E || code == 0x200F || (code >= 0x202A && code <= 0x202E) ||
                       (code >= 0x2066 && code <= 0x2069);
    if (!turns) continue;
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(code));
    text.replace(at, 3, escaped);
  }
  return text;
}

}  // namespace

Terminal terminal_of(std::FILE* stream) {
  Terminal terminal;
  const int fd = ::fileno(stream);
  terminal.is_terminal = fd >= 0 && ::isatty(fd) == 1;
  if (!terminal.is_terminal) return terminal;
  // https://no-color.org: any value but the empty one.
  terminal.colours = environment("NO_COLOR").value_or("").empty() &&
                     environment("TERM").value_or("") != "dumb";
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.columns = size.ws_col;
  return terminal;
}

std::string paint(const Terminal& terminal, Colour colour, std::string_view text) {
  if (!terminal.colours || colour == Colour::none || text.empty()) return std::string(text);
  return std::string(sequence_of(colour)) + std::string(text) + "\x1b[0m";
}

Colour status_colour(std::string_view status) {
  if (status == "completed") return Colour::green;
  if (status == "failed" || status == "cancelled") return Colour::red;
  if (status == "paused") return Colour::yellow;
  return Colour::blue;
}

std::string harmless(std::string_view text) {
  std::string out;
  std::size_t line_start = 0;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size() && text[at] != '\n' && text[at] != '\t') continue;
    const std::string_view piece = text.substr(line_start, at - line_start);
    out += clip_utf8(piece, piece.size() * 6);  // an escape is six bytes at most: nothing is cut
    if (at < text.size()) out.push_back(text[at]);
    line_start = at + 1;
  }
  return without_directions(std::move(out));
}

std::string one_line(std::string_view text) { return without_line_ends(harmless(text)); }

std::size_t width_of(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '\x1b') {  // "\x1b[" … "m"
      const auto end = text.find('m', at);
      if (end == std::string_view::npos) break;
      at = end + 1;
      continue;
    }
    const std::string_view character = character_at(text, at);
    columns += is_wide(character) ? 2 : 1;
    at += character.size();
  }
  return columns;
}

std::string fit(std::string_view text, std::size_t columns) {
  if (width_of(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  std::string out;
  std::size_t used = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view character = character_at(text, at);
    const std::size_t width = is_wide(character) ? 2 : 1;
    if (used + width > columns - 1) break;
    out += character;
    used += width;
    at += character.size();
  }
  return out + "…";
}

Table::Table(std::vector<std::string> head, std::vector<std::size_t> right)
    : right_(std::move(right)) {
  rows_.push_back(std::move(head));
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(rows_.front().size());
  for (std::string& cell : cells) cell = without_line_ends(std::move(cell));
  rows_.push_back(std::move(cells));
}

std::string Table::text(const Terminal& terminal) const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      const bool right = std::find(right_.begin(), right_.end(), i) != right_.end();
      if (i > 0) line += "  ";
      line += right ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += (&row == &rows_.front() ? paint(terminal, Colour::dim, line) : line) + "\n";
  }
  return out;
}

std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  const std::size_t first = text.starts_with('-') ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3;) {
    at -= 3;
    text.insert(at, ",");
  }
  return text;
}

std::string show_time(std::string_view iso) {
  if (iso.size() < 19 || iso[10] != 'T') return harmless(iso);
  return harmless(iso.substr(0, 10)) + " " + harmless(iso.substr(11, 8));
}

std::string show_duration_ms(std::int64_t ms) {
  char text[64];
  if (ms < 0) return "";
  if (ms < 1'000) return std::to_string(ms) + " ms";
  const std::int64_t seconds = ms / 1'000, minutes = seconds / 60, hours = minutes / 60;
  if (seconds < 60) {
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ms / 100) / 10);
  } else if (minutes < 60) {
    std::snprintf(text, sizeof text, "%d min %02d s", static_cast<int>(minutes),
                  static_cast<int>(seconds % 60));
  } else {
    std::snprintf(text, sizeof text, "%lld h %02d min", static_cast<long long>(hours),
                  static_cast<int>(minutes % 60));
  }
  return text;
}

std::string show_size(std::int64_t bytes) {
  constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto size = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < std::size(units)) {
    size /= 1024;
    ++unit;
  }
  char text[64];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f " : "%.1f ", size);
  return text + std::string(units[unit]);
}

std::int64_t ms_between(std::string_view from, std::string_view to) {
  const std::int64_t start = epoch_ms(from), end = epoch_ms(to);
  return start < 0 || end < 0 ? -1 : end - start;
}

}  // namespace sequential::cli
