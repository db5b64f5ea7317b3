#pragma once
// NodeMark: a locked file in the data folder with the name of the node that runs there. Whoever
// gets the lock knows that the node named in the file is dead, so what it held can be taken over at
// once instead of when its leases end.
//
// The lock is the kernel's (flock): it goes with the process, however that ends. A name that was
// written under another boot, or by another machine that shares the folder, proves nothing and is
// not believed.
//
// Threads: any, one at a time.

#include <string>

namespace sequential::server {

class NodeMark {
 public:
  // `folder`: the data folder. Without the lock (another node runs there), or where the file cannot
  // be written, there is no dead node to speak of; that is logged, not an error. Blocks on the
  // disk.
  explicit NodeMark(const std::string& folder);
  NodeMark(const NodeMark&) = delete;
  NodeMark& operator=(const NodeMark&) = delete;
  ~NodeMark();

  // The node that ran here before and is certainly dead; empty if none is known.
  const std::string& died() const { return died_; }

  // From now on `node` runs here. Not before its predecessor's work was taken over: a start that
  // fails before that leaves it to the next.
  void write(const std::string& node);

 private:
  const std::string path_;
  int fd_ = -1;
  std::string died_;
};

}  // namespace sequential::server
