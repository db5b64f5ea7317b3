// Runs a fuzz target without libFuzzer: every file of its corpus, then seeded random mutations of
// them, so that the targets run wherever the tests do.
//
//   <target> [corpus folder] [mutations] [seed]         options (--…) are ignored
//
// The input at hand is kept in `crash-<target>` beside the working directory's files while it runs,
// so whatever ends the process leaves the input that did it.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kInputBytesMax = 64u << 10;
constexpr long kMutationsDefault = 20'000;
constexpr std::chrono::seconds kTimeMax{20};

// The last input, in memory shared with a file: it survives an abort, and costs one copy per input.
class Witness {
 public:
  explicit Witness(const std::string& path) : path_(path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (::ftruncate(fd, static_cast<off_t>(kInputBytesMax + sizeof(std::uint64_t))) == 0) {
      void* const memory = ::mmap(nullptr, kInputBytesMax + sizeof(std::uint64_t),
                                  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (memory != MAP_FAILED) memory_ = static_cast<std::uint8_t*>(memory);
    }
    ::close(fd);
  }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() { std::remove(path_.c_str()); }  // not reached by a crash

  void keep(const std::vector<std::uint8_t>& input) {
    if (memory_ == nullptr) return;
    const std::uint64_t size = input.size();
    std::memcpy(memory_, &size, sizeof size);
    if (size > 0) std::memcpy(memory_ + sizeof size, input.data(), input.size());
  }

 private:
  std::string path_;
  std::uint8_t* memory_ = nullptr;  // size:u64, then the input
};

std::vector<std::vector<std::uint8_t>> load(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  if (!folder.empty() && std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::vector<std::uint8_t>> corpus = {{}};
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    corpus.emplace_back(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(
                                                           std::min(bytes.size(), kInputBytesMax)));
  }
  return corpus;
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::vector<std::uint8_t> next(const std::vector<std::vector<std::uint8_t>>& corpus) {
    std::vector<std::uint8_t> input = corpus[below(corpus.size())];
    for (std::size_t steps = 1 + below(6); steps > 0; --steps) step(input, corpus);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  std::uint8_t byte() {
    constexpr std::uint8_t kInteresting[] = {0, 1, 0x7f, 0x80, 0xff, '"', '[', '{', '\\', '\n'};
    return below(2) == 0 ? static_cast<std::uint8_t>(random_())
                         : kInteresting[below(std::size(kInteresting))];
  }
  static std::ptrdiff_t at(std::size_t index) { return static_cast<std::ptrdiff_t>(index); }

  void step(std::vector<std::uint8_t>& input,
            const std::vector<std::vector<std::uint8_t>>& corpus) {
    const std::size_t place = below(input.size() + 1);
    switch (below(6)) {
      case 0:  // change
        if (place < input.size()) input[place] = byte();
        break;
      case 1:  // flip a bit
        if (place < input.size()) {
          input[place] = static_cast<std::uint8_t>(input[place] ^ (1u << below(8)));
        }
        break;
      case 2:  // insert
        input.insert(input.begin() + at(place), 1 + below(8), byte());
        break;
      case 3:  // cut out
        input.erase(input.begin() + at(place),
                    input.begin() + at(std::min(input.size(), place + below(16))));
        break;
      case 4:  // cut off
        if (below(4) == 0) input.resize(place);
        break;
      default: {  // go on as another
        const auto& other = corpus[below(corpus.size())];
        const std::size_t from = below(other.size() + 1);
        input.resize(place);
        input.insert(input.end(), other.begin() + at(from), other.end());
      }
    }
  }

  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    // sequential_test passes every program an option of GoogleTest.
    if (std::string(argv[i]).rfind("--", 0) != 0) arguments.emplace_back(argv[i]);
  }
  const std::string folder = arguments.empty() ? "" : arguments[0];
  const long mutations = arguments.size() > 1 ? std::atol(arguments[1].c_str()) : kMutationsDefault;
  const unsigned long seed =
      arguments.size() > 2 ? std::strtoul(arguments[2].c_str(), nullptr, 10) : 1;
  if (!folder.empty() && !std::filesystem::is_directory(folder)) {
    std::fprintf(stderr, "no corpus folder %s\n", folder.c_str());
    return 2;
  }
  const auto corpus = load(folder);
  Witness witness("crash-" + std::filesystem::path(argv[0]).filename().string());

  const auto run = [&](const std::vector<std::uint8_t>& input) {
    witness.keep(input);
    // A copy of the very size, so that a sanitizer sees a read behind its end.
    const std::vector<std::uint8_t> exact(input);
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  };
  for (const auto& input : corpus) run(input);
  Mutator mutator(seed);
  const auto deadline = std::chrono::steady_clock::now() + kTimeMax;
  long done = 0;
  while (done < mutations && std::chrono::steady_clock::now() < deadline) {
    run(mutator.next(corpus));
    ++done;
  }
  std::printf("%zu corpus inputs, %ld mutations of seed %lu\n", corpus.size(), done, seed);
  return done > 0 ? 0 : 1;
}
