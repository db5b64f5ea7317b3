#pragma once
// Stands between the store and its server, and cuts a connection at a chosen statement: before the
// statement gets through (it was never executed), or after the server has answered it and before
// the answer gets back (it was committed, and the store cannot know).
//
// Statements are told by their text, so the store must send it (PostgresOptions::prepare off).

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sequential::storage::test {

class CutProxy {
 public:
  // Listens in a folder of its own; forwards to the socket `server`.
  explicit CutProxy(std::string server);
  ~CutProxy();
  CutProxy(const CutProxy&) = delete;
  CutProxy& operator=(const CutProxy&) = delete;

  const std::string& folder() const { return folder_; }  // libpq's host=

  enum class When { before_it_is_sent, after_it_is_committed };
  // The next `times` statements that contain `text`.
  void cut_at(const std::string& text, When when, int times = 1);
  int cuts() const { return cuts_.load(); }  // made so far

 private:
  struct Pair;
  void loop();
  void accept_one();
  bool forward_request(Pair& pair);
  bool forward_answer(Pair& pair);
  bool due(const std::string& bytes, When when);

  const std::string server_;
  std::string folder_;
  int listener_ = -1, wake_ = -1;
  std::atomic<int> cuts_{0};
  std::mutex mutex_;
  std::string text_;   // guarded by mutex_
  When when_ = When::before_it_is_sent;
  int left_ = 0;       // guarded by mutex_
  std::vector<Pair> pairs_;  // the thread's
  std::thread thread_;
};

}  // namespace sequential::storage::test
