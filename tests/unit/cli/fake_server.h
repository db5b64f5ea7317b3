#pragma once
// An HTTP server on a free loopback port that answers what a test says, one request per connection.
//
// Threads: its own; the handler runs there. `requests` may be called from any thread.

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sequential::cli {

struct FakeRequest {
  std::string method, target;
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
};
struct FakeReply {
  int status = 200;
  std::string body;
  bool hang = false;  // never answer
};

class FakeServer {
 public:
  using Handler = std::function<FakeReply(const FakeRequest&)>;
  explicit FakeServer(Handler handler);
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;
  ~FakeServer();

  std::string url() const;
  std::vector<FakeRequest> requests() const;

 private:
  void serve();
  void answer(int connection);

  const Handler handler_;
  int listener_ = -1, port_ = 0;
  int stop_[2] = {-1, -1};  // a pipe; closing the writing end stops the thread
  mutable std::mutex mutex_;
  std::vector<FakeRequest> requests_;  // guarded by mutex_
  std::vector<int> hanging_;           // only the thread
  std::thread thread_;
};

}  // namespace sequential::cli
