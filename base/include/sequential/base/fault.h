#pragma once
// FAULT_POINT("name"): a named crash point, compiled only into test builds
// (SEQUENTIAL_FAULT_POINTS=1) and absent from release builds.
//
// What happens at a point is told by the environment variable SEQUENTIAL_FAULTS, a comma-separated
// list of  name=action[:ms][@n]  where action is kill9 | abort | stop | delay | error and n is the
// hit (1 = first, the default) at which it acts; `stop:ms` sends SIGSTOP to itself (the test
// continues it), `delay:ms` waits, `error` makes FAULT_ERROR true. A hit writes the point's name to
// the file descriptor of SEQUENTIAL_FAULTS_FD, if set, before acting.

#ifdef SEQUENTIAL_FAULT_POINTS
namespace sequential {
// Returns true if an `error` action fires here. Thread-safe.
bool fault_hit(const char* name) noexcept;
}  // namespace sequential
#define FAULT_POINT(name) static_cast<void>(::sequential::fault_hit(name))
#define FAULT_ERROR(name) ::sequential::fault_hit(name)
#else
#define FAULT_POINT(name) static_cast<void>(0)
#define FAULT_ERROR(name) false
#endif
