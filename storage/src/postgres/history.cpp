#include "postgres/history.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>
#include <utility>

#include "postgres/jitter.h"
#include "sequential/base/log.h"

namespace sequential::storage::postgres {
namespace {

constexpr std::size_t kWitnessesMax = 128;  // the newest; the older ones were before them
constexpr Millis kMarkAnyway{3'600'000};    // a node with nothing to mark is alive all the same
// By the database's clock: older marks are not expected to be there, still older ones are removed.
constexpr std::int64_t kMarkExpectedMs = 24LL * 3'600'000, kMarkKeptMs = 7 * kMarkExpectedMs;
// After a failover that cost this node nothing, while other nodes are at work: time for them to say
// what it cost them. They find out when they connect, which they try at least once a second.
constexpr Millis kSettle{3'000};
constexpr Millis kOthersActive{60'000};

template <class T>
const DbError* error_of(const Answer<T>& answer) {
  return std::get_if<DbError>(&answer);
}

// "node=value node=value"
std::map<std::string, std::int64_t> read_marks(const std::string& text) {
  std::map<std::string, std::int64_t> marks;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char* const equals = std::find(at, end, '=');
    if (equals == end) break;
    std::int64_t value = 0;
    const char* const rest = std::from_chars(equals + 1, end, value).ptr;
    marks.emplace(std::string(at, equals), value);
    at = std::min(rest + 1, end);
  }
  return marks;
}

std::string name_of(const Witness& witness) {
  const std::string id = std::to_string(witness.id);
  switch (witness.kind) {
    case Witness::Kind::run:
      return "task run " + id;
    case Witness::Kind::end:
      return "the end of stack run " + id;
    case Witness::Kind::attempt:
    case Witness::Kind::claim:
      return "what was stored of stack run " + id;
    case Witness::Kind::ids:
      return "numbers that were given out";
    case Witness::Kind::function:
      return "a task function that was published";
  }
  return "something";
}

std::string at_position(const std::string& timeline, const std::string& position) {
  if (timeline.empty()) return "";
  return "timeline " + timeline + " at " + position;
}

}  // namespace

History::History(const std::string& schema, bool strict, const Clock& clock)
    : meta_("\"" + schema + "\".meta"),
      schema_("\"" + schema + "\"."),
      self_(std::to_string(random_token())),
      strict_(strict),
      clock_(clock) {}

History::Expected History::expected() const {
  const std::lock_guard lock(mutex_);
  return {{witnesses_.begin(), witnesses_.end()},
          marks_,
          acknowledged_,
          cleared_,
          incident_,
          losses_,
          tables_gone_};
}

Error History::why() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

void History::acknowledged(const Witness& witness) {
  const std::lock_guard lock(mutex_);
  witnesses_.push_back({++acknowledged_, witness});
  if (witnesses_.size() > kWitnessesMax) witnesses_.pop_front();
}

void History::acknowledged() {
  const std::lock_guard lock(mutex_);
  ++acknowledged_;
}

void History::forget(std::int64_t through) {
  marked_ = std::max(marked_, through);
  while (!witnesses_.empty() && witnesses_.front().number <= through) witnesses_.pop_front();
}

std::optional<DbError> History::begin(Connection& connection) {
  const std::string now = schema_ + "now_ms(0)";
  const Statement tidy("DELETE FROM " + meta_ + " WHERE key LIKE 'mark:%' AND value < " + now +
                       " - $1::bigint");
  Params kept;
  kept.add(kMarkKeptMs);
  const auto tidied = connection.run(tidy, kept, false);
  if (const auto* error = error_of(tidied)) return *error;
  const auto entered = enter(connection);
  if (const auto* error = error_of(entered)) return *error;
  auto asked = ask(connection, {});
  if (const auto* error = error_of(asked)) return *error;
  Found& found = std::get<Found>(asked);
  const std::lock_guard lock(mutex_);
  marks_ = std::move(found.marks);
  cleared_ = found.cleared;
  incident_ = found.incident;
  timeline_ = std::move(found.timeline);
  position_ = std::move(found.position);
  marked_at_ = clock_.monotonic();
  begun_ = true;
  return std::nullopt;
}

Answer<Rows> History::enter(Connection& connection) {
  const Statement enter("INSERT INTO " + meta_ + " (key, value) VALUES ('mark:' || $1::text, " +
                        schema_ +
                        "now_ms(0)) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
                        " RETURNING value");
  Params self;
  self.add(std::string_view(self_));
  return connection.run(enter, self, false);
}

Answer<History::Found> History::ask(Connection& connection, const std::vector<Known>& witnesses) {
  const auto one = [this](const char* what, const char* key) {
    return std::string("(SELECT ") + what + " FROM " + meta_ + " WHERE key = '" + key + "')";
  };
  const auto there = [this](const char* table, const char* which) {
    return "EXISTS (SELECT 1 FROM " + schema_ + table + " x WHERE " + which + ")";
  };
  const std::string position =
      ", left(pg_walfile_name(pg_current_wal_flush_lsn()), 8), pg_current_wal_flush_lsn()::text";
  const bool with_position = tells_position_;
  const Statement statement(
      "SELECT " + schema_ + "now_ms(0), " + one("token", "cleared") + ", " +
      one("token", "went_back") +
      ", (SELECT string_agg(substr(key, 6) || '=' || value, ' ') FROM " + meta_ +
      " WHERE key LIKE 'mark:%'),"
      " (SELECT min(w.n) FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[],"
      " $5::bigint[])"
      " WITH ORDINALITY AS w (kind, id, number, token, run, n) WHERE NOT CASE w.kind WHEN 0 THEN " +
      there("task_runs", "x.id = w.id AND x.created_at = w.number") + " WHEN 1 THEN " +
      there("stack_runs", "x.id = w.id AND x.token = w.token AND x.ended_at IS NOT NULL") +
      " WHEN 2 THEN " +
      there("attempts", "x.stack_run_id = w.id AND x.epoch = w.number AND x.token = w.token") +
      " WHEN 3 THEN " + there("stack_runs", "x.id = w.id AND x.epoch >= w.number") +
      " WHEN 4 THEN (SELECT last_value FROM " + schema_ + "stack_run_ids) >= w.id ELSE " +
      there("task_functions", "x.id = w.id AND x.token = w.token") + " END AND NOT " +
      there("removed_runs", "x.id = w.run") + ")" +
      (with_position ? position : ", NULL, NULL"));
  std::vector<int> kinds;
  std::vector<std::int64_t> ids, numbers, tokens, runs;
  for (const auto& [number, witness] : witnesses) {
    kinds.push_back(static_cast<int>(witness.kind));
    ids.push_back(witness.id);
    numbers.push_back(witness.number);
    tokens.push_back(witness.token);
    runs.push_back(witness.run);
  }
  Params params;
  params.add(kinds).add(ids).add(numbers).add(tokens).add(runs);
  auto answer = connection.run(statement, params, false);
  if (const auto* error = error_of(answer)) {
    const std::string& code = error->sqlstate;
    // A provider may keep the log's position to itself: it is only used to tell failovers apart.
    const bool kept_secret = code == "42501" || code == "42883" || code == "0A000";
    if (!with_position || !kept_secret || !tells_position_.exchange(false)) return *error;
    log_info(
        "the database does not tell the position of its log: a failover that loses nothing "
        "is not noticed",
        {{"reason", error->message}});
    return ask(connection, witnesses);
  }
  const Rows& rows = std::get<Rows>(answer);
  Found found;
  found.now = rows.integer(0, 0);
  found.cleared = rows.integer(0, 1);
  found.incident = rows.integer(0, 2);
  found.marks = read_marks(rows.text(0, 3));
  if (!rows.null(0, 4)) found.missing = static_cast<std::size_t>(rows.integer(0, 4) - 1);
  found.timeline = rows.text(0, 5);
  found.position = rows.text(0, 6);
  return found;
}

std::optional<DbError> History::look(Connection& connection, bool is_new) {
  if (!begun_ || gone_back()) return std::nullopt;
  const Expected must_be = expected();
  auto asked = ask(connection, must_be.witnesses);
  if (const auto* error = error_of(asked)) {
    // Tables that are gone are a database that went back to before they were made.
    if (error->sqlstate == "42P01" || error->sqlstate == "3F000" || error->sqlstate == "42883") {
      if (must_be.tables_gone) return std::nullopt;  // which was told and accepted
      Found nothing;
      nothing.tables_gone = true;
      if (!lost(connection, must_be, nothing, "its tables")) return look(connection, is_new);
      return std::nullopt;
    }
    return DbError{DbError::Fate::disconnected, error->sqlstate, error->message};
  }
  const Found& found = std::get<Found>(asked);
  const std::string what = lacking(must_be, found);
  if (what.empty()) return all_there(must_be, found, is_new);
  // All connections come back at once, and one loss is told once: whoever is second looks again.
  if (!lost(connection, must_be, found, what)) return look(connection, is_new);
  return std::nullopt;
}

std::string History::lacking(const Expected& expected, const Found& found) const {
  for (const auto& [node, value] : expected.marks) {
    const bool own = node == self_;
    if (!own && value < found.now - kMarkExpectedMs) continue;
    const auto there = found.marks.find(node);
    if (there != found.marks.end() && there->second >= value) continue;
    return std::string("what ") + (own ? "this" : "another") + " node stored last";
  }
  if (found.incident != expected.incident) return "what another node was told is stored";
  // Whoever cleared all runs removed the witnesses too; marks stay. (Of single runs that were
  // removed the database itself knows.)
  if (!found.missing || found.cleared != expected.cleared) return "";
  return name_of(expected.witnesses[*found.missing].witness);
}

void History::learn_marks(const Found& found, MonoTime now) {
  for (const auto& [node, value] : found.marks) {
    std::int64_t& known = marks_[node];
    if (value > known && node != self_) others_active_until_ = now + kOthersActive;
    known = std::max(known, value);
  }
  std::erase_if(marks_, [&](const auto& mark) {
    return mark.first != self_ && mark.second < found.now - kMarkExpectedMs;
  });
}

std::optional<DbError> History::all_there(const Expected& expected, const Found& found,
                                          bool is_new) {
  const MonoTime now = clock_.monotonic();
  const std::lock_guard lock(mutex_);
  if (losses_ != expected.losses) {
    // Another connection lacks what this one has: this may be what was the primary before.
    return DbError{DbError::Fate::disconnected, "", "it has just lost what it had acknowledged"};
  }
  tables_gone_ = false;
  learn_marks(found, now);
  if (found.cleared != expected.cleared) {
    cleared_ = found.cleared;
    forget(expected.acknowledged);
  }
  if (found.timeline == timeline_ || timeline_.empty()) {
    timeline_ = found.timeline;
    position_ = found.position;
  } else if (is_new) {
    log_warn("the database failed over, and all that it had acknowledged is still there",
             {{"before", at_position(timeline_, position_)},
              {"now", at_position(found.timeline, found.position)}});
    timeline_ = found.timeline;
    position_ = found.position;
    era_.fetch_add(1);
    if (now < others_active_until_) settled_at_ = now + kSettle;
  }
  if (is_new && now < settled_at_) {
    return DbError{DbError::Fate::disconnected, "",
                   "it has just failed over; a moment is left to other nodes to say whether they "
                   "miss anything"};
  }
  return std::nullopt;
}

bool History::lost(Connection& connection, const Expected& expected, const Found& found,
                   const std::string& what) {
  const std::string now = at_position(found.timeline, found.position);
  {
    const std::lock_guard lock(mutex_);
    if (gone_back_) return true;
    if (losses_ != expected.losses) return false;
    const std::string before = at_position(timeline_, position_);
    why_ = Error(Errc::database_went_back,
                 "the database went back in time: it lacks " + what +
                     " (seen before: " + (before.empty() ? "unknown" : before) +
                     ", now: " + (now.empty() ? "unknown" : now) +
                     "). A standby without the last commits was promoted, or a backup restored. "
                     "This node changes nothing any more; reading works. What was acknowledged "
                     "last is lost, and calls made since may be made again. When you know what "
                     "that means for you, restart the node: it then goes on from what is there");
    if (strict_) {
      gone_back_.store(true, std::memory_order_release);
    } else {
      marks_ = found.marks;
      cleared_ = found.cleared;
      incident_ = found.incident;
      timeline_ = found.timeline;
      position_ = found.position;
      tables_gone_ = found.tables_gone;
      forget(expected.acknowledged);  // what came since was not looked for
      ++losses_;
      era_.fetch_add(1);  // connections to what was the primary before know of no loss
    }
  }
  if (strict_) {
    log_error(why().message);
    tell_others(connection);
  } else {
    log_warn("the database lost what it had acknowledged; strict is off, so work goes on",
             {{"lacking", what}});
  }
  return true;
}

// Nodes that miss nothing themselves. One that cannot be told finds out by the marks.
void History::tell_others(Connection& connection) {
  const Statement tell("INSERT INTO " + meta_ + " (key, value, token) VALUES ('went_back', " +
                       schema_ +
                       "now_ms(0), $1::bigint) ON CONFLICT (key) DO UPDATE"
                       " SET value = excluded.value, token = excluded.token"
                       " WHERE meta.token = $2::bigint");
  Params params;
  params.add(random_token()).add(expected().incident);
  const auto told = connection.run(tell, params, false);
  if (const auto* error = error_of(told)) {
    log_warn("the other nodes could not be told", {{"reason", error->message}});
  }
}

// `through`: what is acknowledged by then is covered by the mark, if it is found to be there.
std::optional<DbError> History::raise_mark(Connection& connection, std::int64_t& through,
                                           std::int64_t& losses) {
  std::int64_t known = 0;
  {
    const std::lock_guard lock(mutex_);
    through = marked_;
    losses = losses_;
    if (acknowledged_ == marked_ && clock_.monotonic() < marked_at_ + kMarkAnyway) {
      return std::nullopt;
    }
    through = acknowledged_;
    if (const auto own = marks_.find(self_); own != marks_.end()) known = own->second;
  }
  const Statement raise("UPDATE " + meta_ + " SET value = greatest(value + 1, " + schema_ +
                        "now_ms(0)) WHERE key = 'mark:' || $1::text AND value >= $2::bigint"
                        " RETURNING value");
  Params params;
  params.add(std::string_view(self_)).add(known);
  // A loss that was accepted may have taken the row with it.
  const auto raised = known == 0 ? enter(connection) : connection.run(raise, params, false);
  if (const auto* error = error_of(raised)) {
    return DbError{DbError::Fate::disconnected, error->sqlstate, error->message};
  }
  const Rows& rows = std::get<Rows>(raised);
  if (rows.size() == 0) return std::nullopt;  // it is not there, as will be seen at once
  const std::lock_guard lock(mutex_);
  if (losses_ != losses) return std::nullopt;  // it may be raised where nobody looks any more
  marks_[self_] = std::max(marks_[self_], rows.integer(0, 0));
  marked_at_ = clock_.monotonic();
  return std::nullopt;
}

std::optional<DbError> History::tick(Connection& connection) {
  if (!begun_ || gone_back()) return std::nullopt;
  std::int64_t through = 0, losses = 0;
  if (auto error = raise_mark(connection, through, losses)) return error;
  if (auto error = look(connection, false)) return error;
  // Only now: the mark might have been raised in a database that lacks what came before it.
  if (gone_back()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (losses_ == losses) forget(through);
  return std::nullopt;
}

}  // namespace sequential::storage::postgres
