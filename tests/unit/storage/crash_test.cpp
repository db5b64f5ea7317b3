// kill -9 at the store's fault points: before the commit nothing of the transition is there, after
// it all of it. Only in builds with fault points.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "sequential/base/env.h"
#include "sqlite_files.h"

#ifdef SEQUENTIAL_FAULT_POINTS

namespace sequential::storage::test {
namespace {

constexpr const char* kPathVariable = "SEQUENTIAL_CRASH_TEST_PATH";

// One run: submitted, one call made and recorded, completed. Every fault point is passed.
void run_history(const SqliteOptions& options, const Clock& clock) {
  auto opened = open_sqlite(options, clock);
  SEQUENTIAL_CHECK(opened.has_value());
  SyncStore store(*opened.value());
  Publication publication;
  publication.name = "task";
  publication.code = "1";
  Submission s;
  s.task_function_id = store.publish(publication).value().id;
  s.task_name = "task";
  s.input = "{}";
  s.seed = "0123456789abcdef";
  s.idempotency_key = "key";
  const StackRunId root = store.submit(s).value().root;
  const Grant first = store.claim(root, lease_of("a")).value().value().grant;
  SliceCommit commit = slice_of(first, {call_of(1)});
  commit.handoff = lease_of("a");
  const Grant call = store.commit_slice(commit).value().calls[0].work.value().grant;
  OutcomeRecord record = outcome_of(call);
  record.handoff = lease_of("a");
  const Grant second = store.record_outcome(record).value().wake->work.value().grant;
  store.commit_slice(end_of(second, SliceEnd::completed, "1", 1)).value();
}

class CrashTest : public SqliteTest {
 protected:
  // Runs the history in a process of its own that dies at `point`.
  void crash_at(const std::string& point) {
    for (const char* const suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(options_.path + suffix);
    }
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("SEQUENTIAL_FAULTS", (point + "=kill9").c_str(), 1);
      ::setenv(kPathVariable, options_.path.c_str(), 1);
      ::execl("/proc/self/exe", "crash-child", "--gtest_filter=CrashChild.*",
              "--gtest_brief=1", nullptr);
      ::_exit(3);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << point << ": " << status;
    open();
  }
  std::size_t runs() { return store().runs({}).value().size(); }
  TaskRun run() { return store().runs({}).value().at(0); }
};

// The child of the tests below; by itself, without faults, it comes to its end.
TEST(CrashChild, RunsTheWholeHistory) {
  const TempDir folder;
  SqliteOptions options;
  options.path = environment(kPathVariable).value_or(folder.file("test.db"));
  run_history(options, ManualClock());
}

TEST_F(CrashTest, ASubmissionIsThereWhollyOrNotAtAll) {
  crash_at("submit.before_commit");
  EXPECT_EQ(runs(), 0u);
  close();
  crash_at("submit.after_commit");
  EXPECT_EQ(runs(), 1u);
  // The client that got no answer asks again: the same run.
  Submission again = submission(store().task_function("task", 0).value().id);
  again.idempotency_key = "key";
  EXPECT_TRUE(store().submit(again).value().existing);
}

TEST_F(CrashTest, AClaimThatDiedIsTakenOver) {
  crash_at("claim.after_commit");
  EXPECT_EQ(store().recover("b").value(), 1);
  const Work work = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(work.grant.epoch, 2);
  EXPECT_EQ(work.attempt, 2);
}

TEST_F(CrashTest, ASuspensionIsThereWhollyOrNotAtAll) {
  crash_at("suspend.before_commit");
  EXPECT_EQ(run().call_count, 0);
  EXPECT_EQ(run().status, RunStatus::running);
  close();
  crash_at("suspend.after_commit");
  EXPECT_EQ(run().call_count, 1);
  EXPECT_EQ(run().status, RunStatus::suspended_waiting_child);
  EXPECT_EQ(store().recover("b").value(), 1);
  EXPECT_EQ(store().claim_next(lease_of("b")).value().value().seq, 1);
}

TEST_F(CrashTest, AnOutcomeAndTheWakeOfItsRunAreThereTogetherOrNotAtAll) {
  crash_at("call.before_record");
  EXPECT_EQ(run().journal_length, 0);
  EXPECT_EQ(run().status, RunStatus::suspended_waiting_child);
  for (const char* const point : {"call.after_record", "resume.after_commit"}) {
    close();
    crash_at(point);
    EXPECT_EQ(run().journal_length, 1);
    EXPECT_EQ(run().status, RunStatus::running);
    EXPECT_EQ(store().recover("b").value(), 1);
    EXPECT_EQ(store().claim_next(lease_of("b")).value().value().seq, 0);
  }
}

TEST_F(CrashTest, ACompletionIsThereWhollyOrNotAtAll) {
  crash_at("complete.before_commit");
  EXPECT_EQ(run().status, RunStatus::running);
  close();
  crash_at("complete.after_commit");
  EXPECT_EQ(run().status, RunStatus::completed);
  EXPECT_EQ(store().recover("b").value(), 0);
  EXPECT_TRUE(store().due(10).value().ids.empty());
}

TEST_F(CrashTest, AMigrationThatDiedIsDoneByTheNextStart) {
  crash_at("migrate.midway");
  EXPECT_EQ(runs(), 0u);
  publish();
}

}  // namespace
}  // namespace sequential::storage::test

#endif
