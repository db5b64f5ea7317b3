#include "work/retry_point.h"

#include <algorithm>
#include <array>

#include "sequential/base/json_text.h"

namespace sequential::server {

std::vector<std::int64_t> retry_points(const std::deque<FailedOutcome>& failed,
                                       std::string_view run_error, std::int64_t whole,
                                       bool other_code) {
  // The text between the quotes, escapes and all: both are JSON.
  const auto bears = [run_error](const FailedOutcome& outcome) {
    return !outcome.message.empty() && run_error.find(outcome.message) != std::string_view::npos;
  };
  const auto from = std::find_if(failed.rbegin(), failed.rend(), bears);
  std::vector<std::int64_t> points;
  const bool borne = from != failed.rend();
  if (!borne && other_code) points.push_back(whole);
  for (auto at = borne ? from : failed.rbegin(); at != failed.rend(); ++at) {
    points.push_back(at->position - 1);
  }
  if (borne || !other_code) points.push_back(whole);
  return points;
}

bool ended_by_limit(std::string_view run_error) {
  constexpr std::array<std::string_view, 5> kLimits{
      "\"memory_limit\"", "\"cpu_limit\"", "\"wall_limit\"", "\"calls_limit\"", "\"internal\""};
  const std::string_view code = json_member(run_error, "code");
  return std::find(kLimits.begin(), kLimits.end(), code) != kLimits.end();
}

}  // namespace sequential::server
