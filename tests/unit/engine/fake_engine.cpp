// An engine without V8 for tests of the pool: it speaks the protocol and does what the run's input
// says, in words separated by spaces. What it does after start follows the name it was started by.
//
//   calls:N      one call per slice until N are recorded, then completes (the default: calls:0)
//   gate:PATH    opens the FIFO for reading first: blocks until the test opens it for writing
//   die exit:N hang spin oom:S     ends, hangs, burns CPU, sends Dying and ends (S: the limit)
//   retry_alone  answers so unless it is alone          lie:WHAT    see lies()
//   forgetful    keeps no context it claims to keep     evicts      sends Evicted after the answer
//   big:N        a result of N bytes                    progress:N  N times progress before
//   answering
//
// A completed run's result tells how it was begun.

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <dirent.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sequential/base/json_text.h"
#include "sequential/engine/protocol.h"

extern char** environ;

namespace {

using namespace sequential::engine::protocol;
using sequential::json_string;
using sequential::JsonObject;
using sequential::engine::Limits;

constexpr int kExitProtocol = 42;

[[noreturn]] void wait_forever() {
  for (;;) ::pause();
}

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(kSocketFd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) ::_exit(0);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}
SliceDone answer(std::int64_t run, SliceDoneStatus status) {
  SliceDone done;
  done.run = run;
  done.status = status;
  return done;
}
void tell(FromEngine message) { write_all(encode(message)); }

class Input {
 public:
  ToEngine next() {
    for (;;) {
      auto frame = reader_.next();
      if (frame.has_error()) ::_exit(kExitProtocol);
      if (frame.value()) {
        auto message = decode_to_engine(*frame.value());
        if (message.has_error()) ::_exit(kExitProtocol);
        return std::move(message).value();
      }
      const auto room = reader_.prepare(1u << 16);
      const ssize_t count = ::read(kSocketFd, room.data(), room.size());
      if (count <= 0) ::_exit(0);
      reader_.commit(static_cast<std::size_t>(count));
    }
  }

 private:
  FrameReader reader_{1ll << 32};
};

struct Script {
  std::map<std::string, std::string, std::less<>> words;
  explicit Script(const std::string& text = "") {
    std::istringstream in(text);
    for (std::string word; in >> word;) {
      const auto colon = word.find(':');
      words[word.substr(0, colon)] = colon == std::string::npos ? "" : word.substr(colon + 1);
    }
  }
  bool has(std::string_view word) const { return words.find(word) != words.end(); }
  std::string text(std::string_view word) const {
    const auto found = words.find(word);
    return found == words.end() ? "" : found->second;
  }
  std::int64_t number(std::string_view word) const { return std::atoll(text(word).c_str()); }
};

struct Run {
  Script script;
  std::int64_t through = 0;
  std::int64_t journal_rows = 0, journal_frames = 0, hash_sum = 0, outcomes = 0;
  std::string last_payload = "null";
  bool alone = false, cold = true, code_sent = false;
};

std::string descriptors() {
  std::string list;
  DIR* const dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return "?";
  while (const dirent* const entry = ::readdir(dir)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != ::dirfd(dir)) list += std::string(entry->d_name) + ",";
  }
  ::closedir(dir);
  return list;
}

class Fake {
 public:
  explicit Fake(std::string name) : name_(std::move(name)) {}
  [[noreturn]] void serve() {
    const ToEngine first = input_.next();
    if (!std::holds_alternative<Hello>(first)) ::_exit(kExitProtocol);
    hello_ = std::get<Hello>(first);
    if (name_ == "silent") wait_forever();
    if (name_ == "noisy") {
      std::fputs("noisy engine:\x1b[31m no base blob\n", stderr);
      ::_exit(7);
    }
    tell(Ready{.version = name_ == "newer" ? kVersion + 1 : kVersion,
               .v8_version = "fake",
               .base_blob_bytes = 0,
               .base_from_file = false});
    for (;;) {
      std::visit([this](auto& message) { take(std::move(message)); }, next_ = input_.next());
    }
  }

 private:
  void take(Hello&&) { ::_exit(kExitProtocol); }
  void take(Journal&&) { ::_exit(kExitProtocol); }
  void take(Forget&& forget) { runs_.erase(forget.run); }
  void take(Check&& check) {
    const Script script(check.code);
    obey_fatal(script, 0, false);
    if (script.has("environment")) {
      int variables = 0;
      while (environ[variables] != nullptr) ++variables;
      tell(Checked{.ok = false,
                   .message = "fds=" + descriptors() + " env=" + std::to_string(variables) +
                              " group=" + (::getpgrp() == ::getpid() ? "own" : "shared"),
                   .line = 3,
                   .column = 7});
      return;
    }
    tell(Checked{
        .ok = script.has("good"), .message = "bad", .line = script.number("line"), .column = 1});
  }

  void take(Begin&& begin) {
    if (begin.cold) {
      Run run;
      run.script = Script(begin.input);
      run.alone = begin.alone;
      run.code_sent = begin.code.has_value();
      if (begin.code) {
        ledger_.hold(begin.function_id, begin.code->size());
      } else if (!ledger_.use(begin.function_id)) {
        ::_exit(kExitProtocol);
      }
      runs_.erase(begin.run);
      if (run.script.has("early")) return answer_early(begin);
      if (begin.calls_recorded > 0 && !read_journal(begin, run)) return;
      runs_[begin.run] = std::move(run);
    } else {
      const auto found = runs_.find(begin.run);
      if (found == runs_.end() || found->second.through != begin.delivered_from) {
        tell(answer(begin.run, SliceDoneStatus::not_warm));
        return;
      }
      found->second.cold = false;
      found->second.outcomes += static_cast<std::int64_t>(begin.outcomes.size());
      if (!begin.outcomes.empty()) found->second.last_payload = begin.outcomes.back().payload;
    }
    Run& run = runs_[begin.run];
    run.through = begin.delivered_through;
    slice(begin, run);
  }

  // An answer before the journal was read: a violation.
  void answer_early(const Begin& begin) {
    SliceDone done = answer(begin.run, SliceDoneStatus::completed);
    done.payload = "1";
    tell(std::move(done));
    wait_forever();
  }

  bool read_journal(const Begin& begin, Run& run) {
    for (;;) {
      ToEngine message = input_.next();
      auto* const journal = std::get_if<Journal>(&message);
      if (journal == nullptr || journal->run != begin.run) ::_exit(kExitProtocol);
      ++run.journal_frames;
      for (const JournalRow& row : journal->rows) {
        if (row.seq != ++run.journal_rows) ::_exit(kExitProtocol);
        run.hash_sum ^= static_cast<std::int64_t>(row.args_hash_low);
        if (row.outcome) {
          ++run.outcomes;
          run.last_payload = row.outcome->payload;
        }
      }
      if (journal->abandoned) {
        tell(answer(begin.run, SliceDoneStatus::not_warm));
        return false;
      }
      if (!journal->more) return true;
    }
  }

  void obey_fatal(const Script& script, std::int64_t run, bool alone) {
    if (script.has("gate")) {
      const int gate = ::open(script.text("gate").c_str(), O_RDONLY);
      char byte = 0;
      if (gate >= 0 && ::read(gate, &byte, 1) >= 0) ::close(gate);
    }
    if (script.has("die")) ::abort();
    if (script.has("exit")) ::_exit(static_cast<int>(script.number("exit")));
    if (script.has("hang")) wait_forever();
    if (script.has("spin")) {
      volatile bool never = false;
      while (!never) {
      }
    }
    if (script.has("oom")) {
      tell(Dying{.run = run, .alone = alone, .limit = script.text("oom")});
      ::_exit(1);
    }
  }

  void slice(const Begin& begin, Run& run) {
    const Script script = run.script;
    for (std::int64_t i = 0; i < script.number("progress"); ++i) {
      tell(Progress{.run = begin.run, .delivered = i});
    }
    obey_fatal(script, begin.run, run.alone);
    if (script.has("retry_alone") && (!run.alone || script.text("retry_alone") == "always")) {
      runs_.erase(begin.run);
      SliceDone done = answer(begin.run, SliceDoneStatus::suspended);
      done.retry_alone = true;
      tell(std::move(done));
      return;
    }
    SliceDone done = honest(begin, run);
    if (script.has("lie")) lies(script.text("lie"), done);
    const bool ended = done.status != SliceDoneStatus::suspended;
    if (ended || script.has("forgetful") || script.has("evicts")) runs_.erase(begin.run);
    tell(std::move(done));
    if (script.has("evicts") && !ended) tell(Evicted{.runs = {begin.run}});
  }

  SliceDone honest(const Begin& begin, const Run& run) {
    SliceDone done = answer(begin.run, SliceDoneStatus::suspended);
    done.replayed = run.journal_frames > 0;
    done.logs.push_back({.level = "info", .message = "slice"});
    if (begin.calls_recorded < run.script.number("calls")) {
      done.warm = true;
      done.calls.push_back({.seq = begin.calls_recorded + 1,
                            .service = "svc",
                            .method = "m",
                            .args = "[" + std::to_string(begin.calls_recorded + 1) + "]",
                            .options = "",
                            .source_line = 12});
      return done;
    }
    done.status = SliceDoneStatus::completed;
    if (run.script.has("big")) {
      const auto size = static_cast<std::size_t>(run.script.number("big"));
      done.payload = "\"" + std::string(size - 2, 'x') + "\"";
      return done;
    }
    JsonObject result;
    result.number("pid", ::getpid()).boolean("cold", run.cold).boolean("alone", run.alone);
    result.boolean("code_sent", run.code_sent).number("journal_rows", run.journal_rows);
    result.number("journal_frames", run.journal_frames).number("hash_sum", run.hash_sum);
    result.number("outcomes", run.outcomes).number("served", ++served_);
    result.number("warm_runs", static_cast<std::int64_t>(runs_.size()));
    result.raw("last", run.last_payload);
    done.payload = std::move(result).text();
    return done;
  }

  void lies(const std::string& what, SliceDone& done) {
    const Limits& limits = hello_.limits;
    const CallFrame call{
        .seq = 1, .service = "s", .method = "m", .args = "[]", .options = "", .source_line = 1};
    done.calls = {call};
    done.status = SliceDoneStatus::suspended;
    done.payload.clear();
    if (what == "run") done.run += 1;
    if (what == "seq") done.calls[0].seq = 2;
    if (what == "args_json") done.calls[0].args = "[1,]";
    if (what == "args_object") done.calls[0].args = "{}";
    if (what == "args_large") {
      const auto size = static_cast<std::size_t>(limits.payload_bytes);
      done.calls[0].args = "[\"" + std::string(size, 'a') + "\"]";
    }
    if (what == "options") done.calls[0].options = "[]";
    if (what == "calls") {
      done.calls.clear();
      for (std::int64_t i = 1; i <= limits.calls_in_flight + 1; ++i) {
        done.calls.push_back(call);
        done.calls.back().seq = i;
      }
    }
    if (what == "logs") {
      done.logs.assign(static_cast<std::size_t>(limits.log_entries_per_slice) + 2,
                       {.level = "info", .message = ""});
    }
    if (what == "utf8") done.calls[0].service = "\xff";
    if (what == "not_warm") done = answer(done.run, SliceDoneStatus::not_warm);
    if (what == "checked") return lie(encode(FromEngine(Checked{.ok = true, .message = ""})));
    if (what == "ready") return lie(encode(FromEngine(Ready{})));
    if (what == "garbage")
      return lie(
          std::string("\x05\x00\x00\x00\x81"
                      "abcd",
                      9));
    if (what == "huge") return lie(std::string("\xff\xff\xff\xff\x81", 5));
    if (what == "to_engine") return lie(encode(ToEngine(Forget{.run = 1})));
    if (what == "progress_falls") {
      tell(Progress{.run = done.run, .delivered = 0});
      tell(Progress{.run = done.run, .delivered = 0});
    }
    if (what == "progress_far") tell(Progress{.run = done.run, .delivered = 1'000'000});
    if (what == "evicted_flood") {
      for (int i = 0; i < 100'000; ++i) tell(Evicted{.runs = {}});
    }
    if (what == "twice") tell(SliceDone(done));
  }
  // Sends it in place of an answer, which then never comes.
  void lie(const std::string& frame) {
    write_all(frame);
    wait_forever();
  }

  std::string name_;
  Input input_;
  ToEngine next_;
  Hello hello_;
  CodeLedger ledger_;
  std::map<std::int64_t, Run> runs_;
  std::int64_t served_ = 0;
};

}  // namespace

int main(int, char** argv) {
  const std::string path = argv[0];
  Fake(path.substr(path.rfind('/') + 1)).serve();
}
