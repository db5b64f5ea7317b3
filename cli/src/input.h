#pragma once
// What the user hands in: files, standard input, secrets, answers.

#include <cstddef>
#include <cstdio>
#include <string>

#include "sequential/base/error.h"

namespace sequential::cli {

inline constexpr std::size_t kInputBytesMax = 256u << 20;
inline constexpr std::size_t kSecretBytesMax = 1u << 20;

// Errors: config_invalid, with the reason.
Result<std::string> read_all(std::FILE* stream, const std::string& name, std::size_t bytes_max);
Result<std::string> read_file(const std::string& path, std::size_t bytes_max);

// Reads one line from a terminal without showing it.
Result<std::string> read_hidden(std::FILE* terminal, std::FILE* prompt_to,
                                const std::string& prompt);

// `text` without one final line end.
std::string without_final_newline(std::string text);

}  // namespace sequential::cli
