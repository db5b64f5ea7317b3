#pragma once
// SourceMap: where the author wrote what a bundle's code was made of. Read from the map that
// bundlers write inline at the code's end (ECMA-426, once "source map revision 3").
//
// The map is task code's own, so it can be anything. All that is kept of it is bounded, and one
// that is broken or beyond a bound is as good as none: positions are then those of the stored code.
// It is outside of V8's heap: contexts and snapshots do not grow by it. What all maps that are read
// take is bounded, too: beyond that, the one that was read longest ago is forgotten and read again
// when it is asked.
//
// Threads: one.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sequential::engine {

// How much of a map is kept: 16 bytes a position, 4 a line. What may be published at all
// (server.publish_bytes_max) bounds the rest.
inline constexpr std::size_t kMapPositionsMax = 1'000'000;
inline constexpr std::size_t kMapLinesMax = 1'000'000;
inline constexpr std::size_t kMapSourcesMax = 65'536;
inline constexpr std::size_t kMapSourceNameBytesMax = 1'024;  // longer names are cut
inline constexpr std::size_t kMapNamesBytesMax = 1u << 20;    // of all sources of a map
inline constexpr std::size_t kMapsBytesMax = 64u << 20;  // of all maps; the newest always stays

class SourceMap {
 public:
  // Takes the map out of `code`, if its last line is one; that line is then empty, so that no other
  // changes its number. Otherwise nullptr, and the code stays as it is.
  static std::shared_ptr<SourceMap> take_from(std::string& code);
  SourceMap(const SourceMap&) = delete;
  SourceMap& operator=(const SourceMap&) = delete;
  ~SourceMap() { forget(); }

  // What all maps that are read take.
  static std::size_t bytes_of_all();

  struct Position {
    std::string source;  // the file's name as the bundler wrote it
    int line = 0;        // 1-based
    int column = 0;
  };
  // Of a place in the stored code, 1-based and in UTF-16 units, as V8 counts. nullopt: nobody wrote
  // it (a bundler's helper), or the map cannot be used. The first call reads the map, and one after
  // it was forgotten.
  std::optional<Position> find(int line, int column);

 private:
  struct Segment {
    std::uint32_t column = 0, source = 0, source_line = 0, source_column = 0;  // 0-based
  };
  explicit SourceMap(std::string encoded) : encoded_(std::move(encoded)) {}

  void read();
  bool read_parts();
  bool read_mappings(std::string_view text);
  bool end_line();
  void keep();
  void forget();

  std::string encoded_;  // base64; empty once it is known to be of no use
  bool read_ = false;
  std::size_t bytes_ = 0;                   // of what follows
  std::string root_;                        // goes before every name
  std::string names_;                       // of the sources, one after the other
  std::vector<std::uint32_t> name_ends_;    // in names_, a source each
  std::vector<Segment> segments_;           // line by line, each in order of columns
  std::vector<std::uint32_t> line_begins_;  // indexes of segments_, one more than there are lines
};

// Whether the author wrote this file, rather than a package of npm.
bool is_of_the_author(std::string_view source);

}  // namespace sequential::engine
