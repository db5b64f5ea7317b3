#pragma once
// An HTTP server on 127.0.0.1 for tests: every request goes to a handler that writes raw bytes, so
// it can answer in any way, also in ways no server should.
//
// Threads: one accepts, one per connection calls the handler. The destructor cuts all connections.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace sequential::test {

struct SeenRequest {
  std::string method, target;
  std::vector<std::pair<std::string, std::string>> headers;  // names as sent
  std::string body;
  int connection = 0;  // number of the connection it came on, from 1

  // The value of the only header of that name (any case); nullopt if there is none.
  std::optional<std::string> header(std::string_view name) const;
  std::string path() const { return target.substr(0, target.find('?')); }
};

// What a handler answers with. All methods return false once the peer is gone.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  bool send(std::string_view bytes);
  // Cuts the connection: in order, or with a reset.
  void close();
  void reset();
  // Blocks until the peer closes (or the server is destroyed).
  void wait_closed();
  bool is_open() const { return open_; }

 private:
  const int fd_;
  bool open_ = true;
};

using Handler = std::function<void(const SeenRequest&, Peer&)>;

class LoopbackServer {
 public:
  explicit LoopbackServer(Handler handler);
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;
  ~LoopbackServer();

  int port() const { return port_; }
  std::string place() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url(std::string_view path) const { return "http://" + place() + std::string(path); }
  std::vector<SeenRequest> requests() const;
  std::vector<SeenRequest> requests(std::string_view path) const;
  int connections() const { return connections_; }
  // Blocks until that many requests have arrived; false after ten seconds.
  bool wait_requests(std::size_t count) const;

 private:
  void accept_all();
  void serve(int fd, int number);

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  mutable std::condition_variable arrived_;
  std::vector<SeenRequest> requests_;         // guarded by mutex_
  std::map<int, int> open_;                   // fd by connection; guarded by mutex_
  std::vector<std::thread> threads_;          // guarded by mutex_
  bool stopping_ = false;                     // guarded by mutex_
  std::thread acceptor_;
};

// "HTTP/1.1 200 OK" with Content-Length and the given extra header lines.
std::string http_response(int status, std::string_view body,
                          const std::vector<std::string>& headers = {});
std::string gzip(std::string_view text);
// About 158 times smaller than what it becomes. Its checksum is wrong: nobody should get that far.
std::string gzip_bomb(std::size_t decompressed_bytes);

}  // namespace sequential::test
