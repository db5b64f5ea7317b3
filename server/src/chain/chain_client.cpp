#include "chain/chain_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "sequential/base/fault.h"
#include "sequential/base/log.h"

namespace sequential::server {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

namespace {
constexpr std::uint32_t kAnswerHeaderMax = 4'096;
constexpr std::uint64_t kAnswerBodyMax = 65'536;
constexpr Millis kWarnEvery{60'000};
}  // namespace

struct ChainClient::State {
  State(net::io_context& context, ChainSigner& s, ChainOptions o)
      : io(context), signer(s), options(std::move(o)) {}

  net::io_context& io;
  ChainSigner& signer;
  const ChainOptions options;
  mutable std::mutex mutex;
  std::deque<StackRunId> queue;                   // guarded by mutex
  std::vector<std::shared_ptr<Connection>> idle;  // guarded by mutex; the most recent last
  int connections = 0;                            // guarded by mutex
  bool stopped = false;                           // guarded by mutex
  Stats stats;                                    // guarded by mutex
  std::optional<MonoTime> warned;                 // guarded by mutex

  std::string render(StackRunId id) {
    const std::string body =
        id ? "{\"stackRunId\":" + std::to_string(id.value) + "}" : std::string("{}");
    return "POST /stack/process HTTP/1.1\r\nHost: " + options.host + ":" + options.port +
           "\r\nContent-Type: application/json\r\nPrefer: respond-async\r\nX-Chain: " +
           signer.sign(body) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }

  // Said at most once a minute, however many are refused.
  void refused(unsigned status) {
    {
      const std::lock_guard lock(mutex);
      const MonoTime now = std::chrono::steady_clock::now();
      if (warned && now - *warned < kWarnEvery) return;
      warned = now;
    }
    const char* why = "see its log, or the load balancer's; the sweep does the work";
    if (status == 401) why = "do all nodes share one chain key, and do their clocks agree?";
    if (status == 429) why = "more than chain.hints_max wait there; the sweep does the work";
    log_warn("a chain request was refused", {{"status", status}, {"hint", why}});
  }

  std::optional<StackRunId> next() {
    const std::lock_guard lock(mutex);
    if (queue.empty() || stopped) return std::nullopt;
    const StackRunId id = queue.front();
    queue.pop_front();
    return id;
  }
};

// One kept-alive connection: connects on its first hint, then sends, awaits the 202, and takes the
// next hint or rests. Everything runs on its own strand.
class ChainClient::Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(std::shared_ptr<State> state)
      : state_(std::move(state)), stream_(net::make_strand(state_->io)) {}

  void work(StackRunId id) {
    net::dispatch(stream_.get_executor(), [self = shared_from_this(), id] { self->begin(id); });
  }
  void close() {
    net::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->stream_.close(); });
  }

 private:
  void begin(StackRunId id) {
    id_ = id;
    if (connected_) return send();
    resolver_.emplace(stream_.get_executor());
    resolver_->async_resolve(
        state_->options.host, state_->options.port,
        [self = shared_from_this()](error_code error, net::ip::tcp::resolver::results_type found) {
          if (error) return self->fail(error);
          self->stream_.expires_after(self->state_->options.timeout);
          self->stream_.async_connect(
              found, [self](error_code failed, const net::ip::tcp::endpoint&) {
                if (failed) return self->fail(failed);
                error_code ignored;
                self->stream_.socket().set_option(net::ip::tcp::no_delay(true), ignored);
                self->connected_ = true;
                self->send();
              });
        });
  }

  void send() {
    FAULT_POINT("chain.before_send");
    request_ = state_->render(id_);
    stream_.expires_after(state_->options.timeout);
    net::async_write(stream_, net::buffer(request_),
                     [self = shared_from_this()](error_code error, std::size_t) {
                       if (error) return self->fail(error);
                       self->receive();
                     });
  }

  void receive() {
    parser_.emplace();
    parser_->header_limit(kAnswerHeaderMax);
    parser_->body_limit(kAnswerBodyMax);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](error_code error, std::size_t) {
                       if (error) return self->fail(error);
                       self->answered();
                     });
  }

  void answered() {
    const unsigned status = parser_->get().result_int();
    const bool keep = parser_->keep_alive();
    retried_ = false;
    {
      const std::lock_guard lock(state_->mutex);
      ++(status < 300 ? state_->stats.sent : state_->stats.failed);
    }
    if (status >= 300) state_->refused(status);
    if (!keep) disconnect();
    go_on();
  }

  // A kept-alive connection may have been closed under us: the hint is tried once more on a new
  // one.
  void fail(const error_code& error) {
    const bool was_kept = connected_;
    disconnect();
    if (was_kept && !retried_) {
      retried_ = true;
      return begin(id_);
    }
    retried_ = false;
    log_debug("a chain request failed", {{"reason", error.message()}});
    {
      const std::lock_guard lock(state_->mutex);
      ++state_->stats.failed;
    }
    go_on();
  }

  void disconnect() {
    stream_.close();
    buffer_.clear();
    connected_ = false;
  }

  void go_on() {
    if (const auto next = state_->next()) return begin(*next);
    stream_.expires_never();
    const std::lock_guard lock(state_->mutex);
    if (!state_->queue.empty() && !state_->stopped) {  // arrived between next() and here
      const StackRunId id = state_->queue.front();
      state_->queue.pop_front();
      net::post(stream_.get_executor(), [self = shared_from_this(), id] { self->begin(id); });
      return;
    }
    if (connected_ && !state_->stopped) {
      state_->idle.push_back(shared_from_this());
    } else {
      --state_->connections;
    }
  }

  const std::shared_ptr<State> state_;
  beast::tcp_stream stream_;
  std::optional<net::ip::tcp::resolver> resolver_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  std::string request_;
  StackRunId id_;
  bool connected_ = false;
  bool retried_ = false;
};

ChainClient::ChainClient(net::io_context& io, ChainSigner& signer, ChainOptions options)
    : state_(std::make_shared<State>(io, signer, std::move(options))) {}

ChainClient::~ChainClient() { stop(); }

void ChainClient::fire(StackRunId id) {
  State& state = *state_;
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard lock(state.mutex);
    if (state.stopped || !state.options.enabled) {
      ++state.stats.dropped;
      return;
    }
    if (!state.idle.empty()) {
      connection = std::move(state.idle.back());
      state.idle.pop_back();
    } else if (state.connections < state.options.connections_max) {
      ++state.connections;
      connection = std::make_shared<Connection>(state_);
    } else {
      if (state.queue.size() >= state.options.queue_max) {
        state.queue.pop_front();
        ++state.stats.dropped;
      }
      state.queue.push_back(id);
      return;
    }
  }
  connection->work(id);
}

void ChainClient::stop() {
  std::vector<std::shared_ptr<Connection>> idle;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    idle.swap(state_->idle);
    state_->connections -= static_cast<int>(idle.size());
  }
  for (const auto& connection : idle) connection->close();
}

ChainClient::Stats ChainClient::stats() const {
  const std::lock_guard lock(state_->mutex);
  Stats stats = state_->stats;
  stats.queued = state_->queue.size();
  stats.connections = state_->connections;
  return stats;
}

Result<ChainOptions> parse_chain_url(const std::string& url) {
  constexpr std::string_view scheme = "http://";
  const Error invalid{Errc::config_invalid,
                      "chain.url must be http://host[:port] without a path, not " + url};
  if (!url.starts_with(scheme)) return invalid;
  std::string rest = url.substr(scheme.size());
  if (!rest.empty() && rest.back() == '/') rest.pop_back();
  if (rest.empty() || rest.find_first_of("/?#@ ") != std::string::npos) return invalid;
  ChainOptions options;
  const auto colon = rest.rfind(':');
  options.host = rest.substr(0, colon);
  options.port = colon == std::string::npos ? "80" : rest.substr(colon + 1);
  if (options.host.empty() || options.port.empty()) return invalid;
  return options;
}

}  // namespace sequential::server
