// Source maps of published code: whatever the code ends with, taking and reading its map never
// fails otherwise than by finding nothing, moves no line, and stays within its bounds.
//
// Input: a byte of how, then either code, or the JSON of a map, or its mappings alone.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "../unit/engine/map_maker.h"
#include "source_map.h"

using sequential::engine::kMapSourceNameBytesMax;
using sequential::engine::MapMaker;
using sequential::engine::SourceMap;

namespace {

// Twice the bound of a name for its root, and what escaping may make of each byte.
constexpr std::size_t kShownNameBytesMax = 2 * 6 * kMapSourceNameBytesMax + 8;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(std::string code) {
  const auto lines = std::count(code.begin(), code.end(), '\n');
  const auto size = code.size();
  const auto map = SourceMap::take_from(code);
  require(std::count(code.begin(), code.end(), '\n') == lines);
  require(map == nullptr ? code.size() == size : code.size() < size);
  if (map == nullptr) return;
  for (const int line : {-1, 0, 1, 2, 3, 17, 1'000'000}) {
    for (const int column : {-1, 0, 1, 2, 9, 80, 2'147'483'647}) {
      const auto at = map->find(line, column);
      if (!at) continue;
      require(line >= 1 && column >= 1);
      require(at->line >= 1 && at->column >= 1);
      require(at->source.size() <= kShownNameBytesMax);
      require(at->source.find('\n') == std::string_view::npos);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      check(text);
      break;
    case 1:
      check("one\n" + MapMaker::line_of(text));
      break;
    default:
      check(MapMaker::line_of(R"({"sources":["a","b"],"mappings":")" + text + "\"}"));
      break;
  }
  return 0;
}
