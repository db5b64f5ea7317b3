#include "replay_matcher.h"

#include <utility>

#include "sequential/base/check.h"
#include "sequential/base/json_text.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::size_t kArgsShownBytes = 2'048;

std::string call_json(const ReplayMatcher::Call& call, const std::string* args) {
  JsonObject object;
  object.string("service", call.service).string("method", call.method);
  // As a string: the text may be cut.
  if (args != nullptr) object.string("args", clip_utf8(*args, kArgsShownBytes));
  return std::move(object).text();
}

}  // namespace

bool ReplayMatcher::recorded(std::int64_t seq, Call call) {
  if (seq != recorded_count_ + 1) return false;
  recorded_count_ = seq;
  if (divergence_) return true;
  if (replayed_ahead_.empty()) {
    recorded_ahead_.push_back(std::move(call));
    return true;
  }
  const Replayed replayed = std::move(replayed_ahead_.front());
  replayed_ahead_.pop_front();
  compare(seq, call, replayed);
  return true;
}

void ReplayMatcher::replayed(std::int64_t seq, std::string_view service, std::string_view method,
                             std::string_view args) {
  SEQUENTIAL_CHECK(seq == replayed_count_ + 1);
  replayed_count_ = seq;
  if (divergence_) return;
  const Hash128 hash = fast_hash(args);
  if (!recorded_ahead_.empty()) {
    const Call& expected = recorded_ahead_.front();
    const bool same =
        expected.service == service && expected.method == method && expected.args_hash == hash;
    if (same) {
      recorded_ahead_.pop_front();
      return;
    }
  }
  Replayed call{{std::string(service), std::string(method), hash},
                std::string(args.substr(0, kArgsShownBytes))};
  if (recorded_ahead_.empty()) {
    replayed_ahead_.push_back(std::move(call));
    return;
  }
  const Call recorded = std::move(recorded_ahead_.front());
  recorded_ahead_.pop_front();
  compare(seq, recorded, call);
}

void ReplayMatcher::compare(std::int64_t seq, const Call& recorded, const Replayed& replayed) {
  const Call& call = replayed.call;
  if (recorded.service == call.service && recorded.method == call.method &&
      recorded.args_hash == call.args_hash) {
    return;
  }
  divergence_ = Divergence{seq, recorded, call, replayed.args_start};
}

void ReplayMatcher::missing(std::int64_t seq) {
  if (divergence_) return;
  Divergence divergence;
  divergence.seq = seq;
  const auto ahead = static_cast<std::size_t>(seq - replayed_count_ - 1);
  if (seq > replayed_count_ && ahead < recorded_ahead_.size()) {
    divergence.recorded = recorded_ahead_[ahead];
  }
  divergence_ = std::move(divergence);
}

std::string ReplayMatcher::divergence_json() const {
  SEQUENTIAL_CHECK(divergence_.has_value());
  JsonObject object;
  object.number("seq", divergence_->seq);
  if (divergence_->recorded) {
    object.raw("recorded", call_json(*divergence_->recorded, nullptr));
  } else {
    object.null("recorded");
  }
  if (divergence_->replayed) {
    object.raw("replayed", call_json(*divergence_->replayed, &divergence_->replayed_args));
  } else {
    object.null("replayed");
  }
  return std::move(object).text();
}

}  // namespace sequential::engine::v8host
