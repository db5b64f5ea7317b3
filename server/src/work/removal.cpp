#include "work/removal.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace sequential::server {
namespace {

constexpr int kFailuresInARow = 24;  // enough to find a few bad ones side by side in a batch

struct Part {
  std::size_t begin = 0, end = 0;
};

}  // namespace

net::awaitable<RemovedRuns> remove_in_parts(storage::Search& search, std::vector<TaskRunId> runs,
                                            WallTime ended_before, int batch) {
  RemovedRuns sum;
  std::vector<Part> parts;  // the next one is the last
  const auto size = static_cast<std::size_t>(std::max(1, batch));
  for (std::size_t end = runs.size(); end > 0;) {
    const std::size_t begin = (end - 1) / size * size;
    parts.push_back({begin, end});
    end = begin;
  }
  for (int in_a_row = 0; !parts.empty();) {
    const Part part = parts.back();
    parts.pop_back();
    const auto at = runs.begin();
    const std::vector<TaskRunId> ids(at + static_cast<std::ptrdiff_t>(part.begin),
                                     at + static_cast<std::ptrdiff_t>(part.end));
    auto write = [&search, &ids, ended_before, batch](auto done) {
      search.remove_runs(ids, ended_before, batch, std::move(done));
    };
    auto removed = co_await completes<Result<storage::Removed>>(std::move(write));
    if (removed.has_value()) {
      sum.removed.runs += removed.value().runs;
      sum.removed.rows += removed.value().rows;
      in_a_row = 0;
      continue;
    }
    if (++in_a_row >= kFailuresInARow) {
      sum.gave_up = std::move(removed).error();
      break;
    }
    if (ids.size() == 1) {
      sum.failed.push_back({ids.front(), std::move(removed).error()});
      continue;
    }
    const std::size_t half = part.begin + ids.size() / 2;
    parts.push_back({half, part.end});
    parts.push_back({part.begin, half});
  }
  co_return sum;
}

}  // namespace sequential::server
