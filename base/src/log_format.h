#pragma once
// The form of a log line, without its newline. Long values are cut, so a line is bounded.

#include <initializer_list>
#include <string>
#include <string_view>

#include "sequential/base/clock.h"
#include "sequential/base/log.h"

namespace sequential::log_format {

// {"at":"2026-11-21T21:10:03.123Z","level":"warn","message":"lease lost","run":7}
std::string json_line(WallTime at, LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields);

// 21:10:03.123 warn  lease lost run=7 node="a b"
std::string text_line(WallTime at, LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields, bool colour);

}  // namespace sequential::log_format
