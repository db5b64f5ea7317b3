#pragma once
// What is wrong with the arguments, so that a person sees which one and what to write instead.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace sequential::cli {

// Accepts a whole number from `min` to `max`; says in words what it wants.
CLI::Validator whole_number(std::int64_t min, std::int64_t max);
CLI::Validator positive_number();
CLI::Validator run_id();

// "orders=12", "orders>10": the name of a filter, and its value. Throws what CLI11 reports.
std::pair<std::string, std::string> attribute_of(const std::string& text);

// An argument such as "--tag=", which CLI11 would give the next one for its value; or empty.
std::string empty_value(int argc, const char* const* argv);

// One line about an error that `app` has thrown for these arguments.
std::string explain(const CLI::App& app, const CLI::ParseError& error, int argc,
                    const char* const* argv);

}  // namespace sequential::cli
