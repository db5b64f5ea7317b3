#pragma once
// Shapes of task code that must come out the same however a run is resumed.

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace sequential::engine::v8test {

struct CorpusTask {
  std::string name;
  std::string code;
  std::uint32_t order_seed = 0;  // 0: outcomes come in the order of the calls
};

inline void PrintTo(const CorpusTask& task, std::ostream* out) { *out << task.name; }

std::vector<CorpusTask> corpus();

}  // namespace sequential::engine::v8test
