#include "imports.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

namespace sequential::cli {
namespace {

using std::string_view_literals::operator""sv;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
// Everything beyond ASCII is taken for a letter.
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

// After these words an expression begins, so that a slash begins a regular expression.
bool expects_expression(std::string_view word) {
  constexpr std::array kWords = {"return"sv, "typeof"sv, "case"sv,       "in"sv,   "of"sv,
                                 "delete"sv, "void"sv,   "throw"sv,      "new"sv,  "do"sv,
                                 "else"sv,   "yield"sv,  "instanceof"sv, "await"sv};
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}
bool declares(std::string_view word) {
  constexpr std::array kWords = {"function"sv, "var"sv, "let"sv, "const"sv, "class"sv};
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}

class Scan {
 public:
  explicit Scan(std::string_view code) : code_(code) {
    if (code_.starts_with("#!")) skip_line();
  }

  bool imports_anything() {
    while (!imports_ && !at_end()) step();
    return imports_ || (requires_ && !has_own_require_);
  }

 private:
  bool at_end() const { return at_ >= code_.size(); }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < code_.size() ? code_[at_ + ahead] : '\0';
  }

  void step() {
    skip_blank();
    if (at_end()) return;
    const char c = peek();
    if (is_word(c)) return take_word();
    if (c == '"' || c == '\'') {
      skip_text(c);
      return remember("\"");
    }
    if (c == '`') return begin_template();
    if (c == '}' && !templates_.empty() && templates_.back() == 0) {
      templates_.pop_back();
      return skip_template();
    }
    if (c == '/' && slash_begins_expression() && skip_regular_expression()) return remember("\"");
    if (!templates_.empty() && c == '{') ++templates_.back();
    if (!templates_.empty() && c == '}') --templates_.back();
    remember(code_.substr(at_++, 1));
  }

  void remember(std::string_view token) { last_ = token; }

  // White space and comments.
  void skip_blank() {
    for (;;) {
      while (!at_end() && is_space(peek())) ++at_;
      if (peek() == '/' && peek(1) == '/') {
        skip_line();
      } else if (peek() == '/' && peek(1) == '*') {
        const auto end = code_.find("*/", at_ + 2);
        at_ = end == std::string_view::npos ? code_.size() : end + 2;
      } else {
        return;
      }
    }
  }
  void skip_line() { at_ = std::min(code_.find('\n', at_), code_.size()); }

  // A text that is not closed ends with its line, so that one mistake is not a mistake to the end.
  void skip_text(char quote) {
    for (++at_; !at_end() && peek() != '\n'; ++at_) {
      if (peek() == '\\') {
        ++at_;
      } else if (peek() == quote) {
        ++at_;
        return;
      }
    }
  }

  void begin_template() {
    ++at_;
    skip_template();
  }
  // From inside of a template to its end, or to the next ${.
  void skip_template() {
    for (; !at_end(); ++at_) {
      if (peek() == '\\') {
        ++at_;
      } else if (peek() == '`') {
        ++at_;
        return remember("\"");
      } else if (peek() == '$' && peek(1) == '{') {
        at_ += 2;
        templates_.push_back(0);
        return remember("{");
      }
    }
  }

  bool slash_begins_expression() const {
    if (last_.empty()) return true;
    if (is_word(last_.front())) return expects_expression(last_);
    return last_ != ")" && last_ != "]" && last_ != "}" && last_ != "\"";
  }
  // False, and nothing skipped, if it does not end on its line: then it is a division.
  bool skip_regular_expression() {
    bool in_class = false;
    for (std::size_t i = at_ + 1; i < code_.size() && code_[i] != '\n'; ++i) {
      const char c = code_[i];
      if (c == '\\') {
        ++i;
      } else if (c == '[') {
        in_class = true;
      } else if (c == ']') {
        in_class = false;
      } else if (c == '/' && !in_class) {
        at_ = i + 1;
        while (is_word(peek())) ++at_;
        return true;
      }
    }
    return false;
  }

  std::string_view read_word() {
    const std::size_t begin = at_;
    while (is_word(peek())) ++at_;
    return code_.substr(begin, at_ - begin);
  }

  void take_word() {
    const std::string_view word = read_word();
    const bool is_member = last_ == ".";
    if (!is_member && word == "import") look_at_import();
    if (!is_member && word == "export") look_at_export();
    if (!is_member && word == "require") look_at_require();
    remember(word);
  }

  void look_at_import() {
    skip_blank();
    const char next = peek();
    // Neither `import.meta` nor a property of that name.
    imports_ = next == '(' || next == '"' || next == '\'' || next == '{' || next == '*' ||
               (is_word(next) && !is_digit(next));
  }

  // `export * from "x"` and `export {…} from "x"`, the names of which hold nothing but names.
  void look_at_export() {
    skip_blank();
    if (peek() == '*') imports_ = true;
    if (peek() != '{') return;
    const auto close = code_.find('}', at_);
    if (close == std::string_view::npos) return;
    at_ = close + 1;
    skip_blank();
    imports_ = code_.substr(at_, 4) == "from" && !is_word(peek(4));
  }

  // `require("x")`, unless the code brings a function of that name: then it has been bundled.
  void look_at_require() {
    skip_blank();
    const bool in_list = (last_ == "(" || last_ == ",") && (peek() == ',' || peek() == ')');
    if (declares(last_) || in_list) has_own_require_ = true;
    if (peek() != '(') return;
    ++at_;
    skip_blank();
    requires_ = requires_ || peek() == '"' || peek() == '\'' || peek() == '`';
    remember("(");
  }

  std::string_view code_;
  std::size_t at_ = 0;
  std::string_view last_;               // token; any text or regular expression is a quote
  std::vector<std::size_t> templates_;  // open ${ and how many braces are open in each
  bool imports_ = false, requires_ = false, has_own_require_ = false;
};

}  // namespace

bool imports_anything(std::string_view code) { return Scan(code).imports_anything(); }

}  // namespace sequential::cli
