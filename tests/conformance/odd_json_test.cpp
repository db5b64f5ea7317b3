// JSON from outside that one store or the other understands differently, or not at all.

#include <algorithm>

#include "sequential/storage/search.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class OddJson : public StoreTest {
 protected:
  std::vector<std::int64_t> with_text(const std::string& text) {
    RunQuery query;
    query.text = text;
    Answer<RunPage> answer;
    store_->search()->find_runs(query, TaskRunId{}, 100, 10'000, answer.done());
    std::vector<std::int64_t> ids;
    const auto page = answer.get();
    EXPECT_TRUE(page.has_value()) << (page.has_error() ? page.error().message : "");
    if (page.has_error()) return ids;
    for (const TaskRun& run : page.value().runs) ids.push_back(run.id.value);
    return ids;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(OddJson);

TEST_P(OddJson, AnErrorThatIsNestedTooDeepKeepsNobodyFromSearching) {
  const Running deep = start(), plain = start();
  const std::string error = R"({"message":"found","cause":)" + std::string(20'000, '[') +
                            std::string(20'000, ']') + "}";
  ASSERT_TRUE(store().commit_slice(end_of(deep.grant, SliceEnd::failed, error)).has_value());
  ASSERT_TRUE(
      store()
          .commit_slice(end_of(plain.grant, SliceEnd::failed, R"({"message":"found"})"))
          .has_value());
  const auto found = with_text("found");
  EXPECT_TRUE(std::count(found.begin(), found.end(), plain.run.value));
}

}  // namespace
}  // namespace sequential::storage::test
