#pragma once
// How the SqliteStore's methods reach the writer and the readers: for the files that define them.

#include <memory>
#include <utility>

#include "sqlite/sqlite_store.h"

namespace sequential::storage::sqlite {

template <class T>
auto SqliteStore::owed(Done<T> done) {
  owed_.fetch_add(1);
  return Done<T>([this, done = std::move(done)](Result<T> result) {
    done(std::move(result));
    if (owed_.fetch_sub(1) == 1) owed_.notify_all();
  });
}

template <class T, class Apply, class Touch>
void SqliteStore::write_and_touch(Done<T> done, Apply apply, Touch touch, How how) {
  writer_->post(std::make_unique<TransitionTask<T, Apply, Touch>>(
                    how.flush, std::move(apply), std::move(touch), owed(std::move(done))),
                how.may_block);
}

template <class T, class Apply>
void SqliteStore::write(Done<T> done, Apply apply, How how) {
  const auto nothing = [](Apply&, Result<T>&) {};
  write_and_touch(std::move(done), std::move(apply), nothing, how);
}

template <class T, class Read>
void SqliteStore::read(Done<T> done, Read read) {
  readers_->post([read = std::move(read), done = owed(std::move(done))](Queries& queries,
                                                                        const Error* refused) {
    done(refused == nullptr ? read(queries) : Result<T>(*refused));
  });
}

}  // namespace sequential::storage::sqlite
