#pragma once
// ReplayMatcher: compares the calls that a replay makes with the calls in the journal, one by one
// in number order, whichever of the two is known first.
//
// Memory: only what one side is ahead of the other (journal rows not yet called for, or calls whose
// row has not arrived).

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "sequential/base/bytes.h"

namespace sequential::engine::v8host {

class ReplayMatcher {
 public:
  struct Call {
    std::string service, method;
    Hash128 args_hash;
  };
  struct Divergence {
    std::int64_t seq = 0;
    std::optional<Call> recorded;
    std::optional<Call> replayed;
    std::string replayed_args;  // the start of the JSON text
  };

  // The journal's call number `seq`. False if it is not the one after the last.
  bool recorded(std::int64_t seq, Call call);
  // The replay makes call number `seq`, likewise without gaps.
  void replayed(std::int64_t seq, std::string_view service, std::string_view method,
                std::string_view args);

  std::int64_t replayed_count() const { return replayed_count_; }
  std::int64_t recorded_count() const { return recorded_count_; }

  // A call that is recorded but was not made (yet): `seq` > replayed_count().
  void missing(std::int64_t seq);

  // The first difference, if any.
  const std::optional<Divergence>& divergence() const { return divergence_; }
  // {seq, recorded: {service, method} | null, replayed: {service, method, args} | null}
  std::string divergence_json() const;

 private:
  struct Replayed {
    Call call;
    std::string args_start;
  };
  void compare(std::int64_t seq, const Call& recorded, const Replayed& replayed);

  std::int64_t recorded_count_ = 0;
  std::int64_t replayed_count_ = 0;
  std::deque<Call> recorded_ahead_;      // recorded, not yet replayed
  std::deque<Replayed> replayed_ahead_;  // replayed, not yet read from the journal
  std::optional<Divergence> divergence_;
};

}  // namespace sequential::engine::v8host
