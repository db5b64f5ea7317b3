// The guarded HTTP client: one thread drives every transfer through libcurl's multi interface.
//
// A request waits in the queue of its origin. Origins take turns, and none has more than
// connections_per_host_max requests under way, so a slow callee delays only its own requests.

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "http/transfer.h"
#include "own_thread.h"
#include "sequential/base/check.h"
#include "sequential/base/clock.h"
#include "sequential/services/builtin.h"

namespace sequential::services {
namespace {

constexpr std::size_t kSpareHandlesMax = 64;
constexpr int kIdleConnectionsMax = 256;
constexpr Millis kPollMax{10'000};

struct CurlMultiFree {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};

struct Host;

// A transfer that waits for its origin's turn, found by origin and by deadline.
struct Waiting {
  std::unique_ptr<Transfer> transfer;
  std::multimap<MonoTime, std::pair<Host*, std::list<Waiting>::iterator>>::iterator deadline;
};

struct Host {
  std::string origin;
  std::list<Waiting> waiting;
  int active = 0;
  bool listed = false;  // in ready_
};

class CurlClient final : public HttpClient {
 public:
  explicit CurlClient(const HttpClientOptions& options)
      : rules_{AllowList(options.allow_hosts, options.ports), options.proxy, options.ca_file},
        active_max_(std::max(1, options.connections_max)),
        active_per_host_max_(std::max(1, options.connections_per_host_max)),
        queue_max_(static_cast<std::size_t>(std::max(1, options.queue_max))),
        multi_(curl_multi_init()) {
    SEQUENTIAL_CHECK(multi_ != nullptr);
    curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
    curl_multi_setopt(multi_.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(active_max_));
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS,
                      static_cast<long>(std::min(active_max_, kIdleConnectionsMax)));
    thread_ = std::thread([this] { run(); });
  }

  ~CurlClient() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      curl_multi_wakeup(multi_.get());
    }
    SEQUENTIAL_CHECK(std::this_thread::get_id() != thread_.get_id());
    thread_.join();
  }

  void send(HttpRequest request, std::function<void(Result<HttpResponse>)> done) override {
    auto transfer = std::make_unique<Transfer>(std::move(request), std::move(done));
    std::optional<Error> refused;
    if (auto prepared = transfer->prepare(rules_); prepared.has_error()) {
      refused = std::move(prepared).error();
    }
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        refused = make_error(Errc::shutting_down, "the server is stopping");
      } else if (outstanding_ >= queue_max_) {
        refused = make_error(Errc::overloaded, "too many outbound requests are waiting");
      } else {
        ++outstanding_;
        inbox_.push_back({std::move(transfer), std::move(refused)});
        // With the lock held: the client's thread takes multi_ away once it has seen stopping_.
        if (inbox_.size() == 1) curl_multi_wakeup(multi_.get());
      }
    }
    if (transfer != nullptr) transfer->answer(*refused);
  }

 private:
  struct Arrival {
    std::unique_ptr<Transfer> transfer;
    std::optional<Error> refused;
  };

  void run() {
    begin_own_thread("http-client");
    while (!take_arrivals()) {
      expire_waiting();
      start_ready();
      int running = 0;
      curl_multi_perform(multi_.get(), &running);
      if (finish_done()) continue;  // places came free
      curl_multi_poll(multi_.get(), nullptr, 0, poll_timeout_ms(), nullptr);
    }
    stop_all();
    // Here and not in the destructor: closing TLS connections writes, and this thread blocks
    // SIGPIPE.
    const std::lock_guard lock(mutex_);
    multi_.reset();
  }

  // Moves what `send` left into the origins' queues; true when the client is to stop.
  bool take_arrivals() {
    std::vector<Arrival> arrivals;
    bool stopping = false;
    {
      const std::lock_guard lock(mutex_);
      arrivals.swap(inbox_);
      stopping = stopping_;
    }
    for (Arrival& each : arrivals) {
      if (each.refused) {
        answer(std::move(each.transfer), *each.refused);
      } else {
        enqueue(std::move(each.transfer));
      }
    }
    return stopping;
  }

  void answer(std::unique_ptr<Transfer> transfer, Result<HttpResponse> result) {
    {
      const std::lock_guard lock(mutex_);
      --outstanding_;
    }
    transfer->answer(std::move(result));
  }

  Host& host_of(const std::string& origin) {
    std::unique_ptr<Host>& host = hosts_[origin];
    if (host == nullptr) {
      host = std::make_unique<Host>();
      host->origin = origin;
    }
    return *host;
  }

  void enqueue(std::unique_ptr<Transfer> transfer) {
    Host& host = host_of(transfer->origin());
    const MonoTime deadline = transfer->deadline();
    const auto place = host.waiting.insert(host.waiting.end(), Waiting{std::move(transfer), {}});
    place->deadline = deadlines_.emplace(deadline, std::make_pair(&host, place));
    list_if_ready(host);
  }

  std::unique_ptr<Transfer> dequeue(Host& host, std::list<Waiting>::iterator place) {
    deadlines_.erase(place->deadline);
    std::unique_ptr<Transfer> transfer = std::move(place->transfer);
    host.waiting.erase(place);
    return transfer;
  }

  void list_if_ready(Host& host) {
    if (host.listed || host.waiting.empty() || host.active >= active_per_host_max_) return;
    host.listed = true;
    ready_.push_back(&host);
  }

  void forget_if_idle(Host& host) {
    if (host.listed || !host.waiting.empty() || host.active != 0) return;
    const std::string origin = host.origin;  // the key lives in what is erased
    hosts_.erase(origin);
  }

  void expire_waiting() {
    const MonoTime now = system_clock().monotonic();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      const auto [host, place] = deadlines_.begin()->second;
      std::unique_ptr<Transfer> transfer = dequeue(*host, place);
      const Error error = transfer->timed_out(false);
      answer(std::move(transfer), error);
      forget_if_idle(*host);
    }
  }

  void start_ready() {
    while (active_.size() < static_cast<std::size_t>(active_max_) && !ready_.empty()) {
      Host& host = *ready_.front();
      ready_.pop_front();
      host.listed = false;
      if (!host.waiting.empty() && host.active < active_per_host_max_) {
        start(host, dequeue(host, host.waiting.begin()));
      }
      list_if_ready(host);
      forget_if_idle(host);
    }
  }

  void start(Host& host, std::unique_ptr<Transfer> transfer) {
    CurlEasy easy;
    if (!spare_.empty()) {
      easy = std::move(spare_.back());
      spare_.pop_back();
    } else {
      easy.reset(curl_easy_init());
    }
    if (easy == nullptr) {
      answer(std::move(transfer), make_error(Errc::overloaded, "out of memory"));
      return;
    }
    if (auto begun = transfer->begin(std::move(easy), rules_); begun.has_error()) {
      answer(std::move(transfer), std::move(begun).error());
      return;
    }
    CURL* const handle = transfer->easy();
    if (curl_multi_add_handle(multi_.get(), handle) != CURLM_OK) {
      answer(std::move(transfer), make_error(Errc::internal, "libcurl refused the request"));
      return;
    }
    ++host.active;
    active_.emplace(handle, Active{std::move(transfer), &host});
  }

  // Answers what has ended; true if anything had.
  bool finish_done() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      any = true;
      CURL* const handle = message->easy_handle;
      const CURLcode code = message->data.result;  // copied: removing the handle frees the message
      curl_multi_remove_handle(multi_.get(), handle);
      finish(handle, code);
    }
    return any;
  }

  void finish(CURL* handle, CURLcode code) {
    const auto place = active_.find(handle);
    SEQUENTIAL_CHECK(place != active_.end());
    std::unique_ptr<Transfer> transfer = std::move(place->second.transfer);
    Host& host = *place->second.host;
    active_.erase(place);
    --host.active;
    auto outcome = transfer->conclude(code, rules_);
    if (CurlEasy easy = transfer->end(); spare_.size() < kSpareHandlesMax) {
      curl_easy_reset(easy.get());
      spare_.push_back(std::move(easy));
    }
    if (outcome) {
      answer(std::move(transfer), std::move(*outcome));
    } else {
      enqueue(std::move(transfer));  // the next hop of a redirect
    }
    list_if_ready(host);
    forget_if_idle(host);
  }

  int poll_timeout_ms() const {
    Millis wait = kPollMax;
    if (!deadlines_.empty()) {
      const auto left =
          std::chrono::ceil<Millis>(deadlines_.begin()->first - system_clock().monotonic());
      wait = std::clamp(left, Millis{0}, kPollMax);
    }
    return static_cast<int>(wait.count());
  }

  void stop_all() {
    const Error stopped = make_error(Errc::shutting_down, "the server is stopping");
    while (!deadlines_.empty()) {
      const auto [host, place] = deadlines_.begin()->second;
      answer(dequeue(*host, place), stopped);
    }
    for (auto& [handle, active] : active_) {
      curl_multi_remove_handle(multi_.get(), handle);
      CurlEasy easy = active.transfer->end();
      easy.reset();
      answer(std::move(active.transfer), stopped);
    }
    active_.clear();
    spare_.clear();
  }

  struct Active {
    std::unique_ptr<Transfer> transfer;
    Host* host;
  };

  // Constant after construction.
  const TransferRules rules_;
  const int active_max_;
  const int active_per_host_max_;
  const std::size_t queue_max_;
  std::unique_ptr<CURLM, CurlMultiFree> multi_;  // the client's thread; others only wake it

  std::mutex mutex_;
  std::vector<Arrival> inbox_;   // guarded by mutex_
  std::size_t outstanding_ = 0;  // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_

  // The client's thread alone.
  std::map<std::string, std::unique_ptr<Host>> hosts_;
  std::deque<Host*> ready_;
  std::multimap<MonoTime, std::pair<Host*, std::list<Waiting>::iterator>> deadlines_;
  std::unordered_map<CURL*, Active> active_;
  std::vector<CurlEasy> spare_;

  std::thread thread_;  // last: it uses all the above
};

}  // namespace

std::unique_ptr<HttpClient> open_http_client(const HttpClientOptions& options) {
  static std::once_flag initialised;
  std::call_once(initialised,
                 [] { SEQUENTIAL_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
  return std::make_unique<CurlClient>(options);
}

}  // namespace sequential::services
