#pragma once
// How the PostgresStore's methods reach its pools: for the files that define them.

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "postgres/postgres_store.h"
#include "sequential/base/fault.h"

namespace sequential::storage::postgres {

// Keys of the transitions' queue: a run, or a stack run whose run the caller does not name.
inline std::uint64_t key_of(TaskRunId run) { return static_cast<std::uint64_t>(run.value); }
inline std::uint64_t key_of(StackRunId id) {
  return static_cast<std::uint64_t>(id.value) | 1ULL << 63;
}

inline constexpr auto kNoTouch = [](auto&, auto&) {};

// A task given as functions: see PostgresStore::write.
template <class T, class Apply, class Touch>
class FunctionTask final : public Task {
 public:
  FunctionTask(std::uint64_t key, const char* before, Apply apply, Touch touch, Done<T> done)
      : Task(key),
        before_(before),
        apply_(std::move(apply)),
        touch_(std::move(touch)),
        done_(std::move(done)) {}

  std::optional<DbError> run(const Try& attempt) override {
    if (before_ != nullptr) FAULT_POINT(before_);
    auto answer = apply_(attempt);
    if (auto* error = std::get_if<DbError>(&answer)) return std::move(*error);
    result_.emplace(std::get<Result<T>>(std::move(answer)));
    return std::nullopt;
  }
  void refuse(Error error) override { result_.emplace(std::move(error)); }
  void finish() override {
    if (result_->has_value()) {
      if constexpr (std::is_void_v<T>) {
        touch_(apply_);
      } else {
        touch_(apply_, result_->value());
      }
    }
    done_(*std::move(result_));
  }

 private:
  const char* const before_;
  Apply apply_;
  Touch touch_;
  Done<T> done_;
  std::optional<Result<T>> result_;
};

template <class T>
auto PostgresStore::owed(Done<T> done) {
  owed_.fetch_add(1);
  return Done<T>([this, done = std::move(done)](Result<T> result) {
    done(std::move(result));
    if (owed_.fetch_sub(1) == 1) owed_.notify_all();
  });
}

template <class T, class Apply, class Touch>
void PostgresStore::write(Done<T> done, How how, Apply apply, Touch touch) {
  Pool& pool = how.pool == nullptr ? transitions_ : *how.pool;
  pool.post(std::make_unique<FunctionTask<T, Apply, Touch>>(
      how.key, how.before, std::move(apply), std::move(touch), owed(std::move(done))));
}

template <class T, class Read>
void PostgresStore::read(Done<T> done, Read read) {
  How how;
  how.pool = &readers_;
  auto apply = [this, read = std::move(read)](const Try& attempt) {
    Queries queries(attempt.db, queries_, attempt.prepare);
    return read(queries);
  };
  write<T>(std::move(done), how, std::move(apply), kNoTouch);
}

}  // namespace sequential::storage::postgres
