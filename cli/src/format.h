#pragma once
// How things look: tables, times, numbers, colours. Pure functions but for the terminal queries.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace sequential::cli {

enum class Colour { none, red, green, yellow, blue, dim, bold };

// What a stream can show.
struct Terminal {
  bool is_terminal = false;
  bool colours = false;
  std::size_t columns = 80;
};
Terminal terminal_of(std::FILE* stream);

std::string paint(const Terminal& terminal, Colour colour, std::string_view text);
Colour status_colour(std::string_view run_or_stack_status);

// Text that came from elsewhere, made harmless for a terminal: control characters but newline and
// tab are escaped, and so is what changes the direction of writing.
std::string harmless(std::string_view text);
// The same on one line: newline and tab are escaped too.
std::string one_line(std::string_view text);

// Number of columns the text takes, colour sequences not counted.
std::size_t width_of(std::string_view text);
// Cuts to at most `columns` columns, ending in "…" if something was cut. No colour sequences.
std::string fit(std::string_view text, std::size_t columns);

// Left-aligned columns two spaces apart; those named in `right` are right-aligned. Line ends within
// cells are escaped: nobody's text can look like a row.
class Table {
 public:
  explicit Table(std::vector<std::string> head, std::vector<std::size_t> right = {});
  void add(std::vector<std::string> cells);
  std::string text(const Terminal& terminal) const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the first is the head
  std::vector<std::size_t> right_;
};

std::string grouped(std::int64_t number);  // 1234567 → "1,234,567"
// "2026-11-21T21:10:03.123Z" → "2026-11-21 21:10:03"
std::string show_time(std::string_view iso_8601);
// "340 ms", "12.3 s", "4 min 05 s", "2 h 03 min"
std::string show_duration_ms(std::int64_t ms);
std::string show_size(std::int64_t bytes);  // "3.4 MiB"
// Milliseconds from one ISO 8601 UTC time to another, or -1 if either is none.
std::int64_t ms_between(std::string_view from, std::string_view to);

}  // namespace sequential::cli
