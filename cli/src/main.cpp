#include "sequential/cli/main.h"

#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "client.h"
#include "commands.h"
#include "input.h"
#include "sequential/base/env.h"
#include "sequential/base/json_text.h"
#include "session.h"

namespace sequential::cli {
namespace {

constexpr const char* kDefaultServer = "http://127.0.0.1:8765";
constexpr std::size_t kTokenBytesMax = 4'096;
constexpr std::int64_t kBundleSecondsMax = 3'600;
constexpr std::int64_t kDelayMsMax = 366ll * 24 * 3'600'000;  // as the server has it

constexpr const char* kFooter = R"(
Exit codes: 0 done, 1 the run failed, was cancelled or is paused, 2 wrong arguments or
configuration, 3 no server answers, 4 no such task, run, schedule or key, 5 the server refused,
6 the server failed or is busy: try again, 7 stopped waiting, the run goes on, 8 the output could
not be written.

Environment: SEQUENTIAL_SERVER, SEQUENTIAL_TOKEN_FILE, SEQUENTIAL_ESBUILD, NO_COLOR; `serve` also
reads SEQUENTIAL_ + the name of any setting, such as SEQUENTIAL_SERVER_PORT for server.port.)";

// The arguments of every command, and what the chosen one does.
class CommandLine {
 public:
  explicit CommandLine(const Main& main) : main_(main) {
    app_.footer(kFooter);
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "sequential-runner " + main.version);
    app_.add_option("--server", server_, "URL of the server")
        ->envname("SEQUENTIAL_SERVER")
        ->capture_default_str();
    app_.add_option("--token-file", token_file_, "File with the token the server asks for")
        ->envname("SEQUENTIAL_TOKEN_FILE");
    app_.add_flag("--json", json_, "Print the server's JSON instead of tables");
    app_.fallthrough();
    add_serve();
    add_publish();
    add_tasks();
    add_run();
    add_runs();
    add_logs();
    add_schedules();
    add_signal();
    add_queues();
    add_keystore();
    add_db();
    add_version();
  }
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  int parse_and_run(int argc, const char* const* argv) {
    if (const std::string empty = empty_value(argc, argv); !empty.empty()) {
      std::fprintf(main_.err, "error: %s has no value after the sign\n", empty.c_str());
      return kExitUsage;
    }
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {  // CLI11 reports by throwing, --help too
      return finish_parsing(error, argc, argv);
    }
    return written(action_());
  }

 private:
  // What was printed may be all that there is of an answer: not to have written it is a failure.
  int written(int exit) const {
    errno = 0;
    if (std::fflush(main_.out) == 0 && std::ferror(main_.out) == 0) return exit;
    const char* const why = errno != 0 ? std::strerror(errno) : "see above";
    std::fprintf(main_.err, "error: the output could not be written: %s\n", why);
    return exit == kExitOk ? static_cast<int>(kExitOutput) : exit;
  }

  int finish_parsing(const CLI::ParseError& error, int argc, const char* const* argv) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream out, err;
      app_.exit(error, out, err);
      std::fputs(out.str().c_str(), main_.out);
      return kExitOk;
    }
    std::fprintf(main_.err, "error: %s\nMore: sequential-runner --help\n",
                 explain(app_, error, argc, argv).c_str());
    return kExitUsage;
  }

  // A command that talks to the server.
  void on(CLI::App* command, std::function<int(Session&)> what) {
    command->callback([this, what = std::move(what)] {
      action_ = [this, what] { return with_session(what); };
    });
  }

  int with_session(const std::function<int(Session&)>& what) {
    // A connection would take its number, and the answer be written to that.
    if (::fcntl(::fileno(main_.out), F_GETFD) < 0) {
      std::fputs("error: standard output is closed: there is nowhere to print to\n", main_.err);
      return kExitOutput;
    }
    std::string token;
    if (!token_file_.empty()) {
      auto read = read_file(token_file_, kTokenBytesMax);
      if (!read) return Session(main_, Client(server_, ""), json_).report(read.error());
      token = without_final_newline(std::move(read).value());
    }
    for (const char c : token) {
      if (c > ' ' && c < '\x7f') continue;
      return Session(main_, Client(server_, ""), json_)
          .usage(token_file_ + " holds more than a token: one line of printable ASCII is expected");
    }
    Session session(main_, Client(server_, token), json_);
    return what(session);
  }

  void add_serve() {
    auto* command = app_.add_subcommand("serve", "Run the server");
    command->add_option("--config", serve_.config_file, "Configuration file (JSON)")
        ->envname("SEQUENTIAL_CONFIG");
    command->add_option("--set", sets_, "A setting, as NAME=VALUE; may be given many times")
        ->type_name("NAME=VALUE");
    const auto shorthand = [this, command](const char* flag, const char* setting,
                                           const char* help) {
      command->add_option_function<std::string>(
          flag,
          [this, setting](const std::string& value) {
            serve_.settings.emplace_back(setting, value);
          },
          help);
    };
    shorthand("--address", "server.address", "IP address to listen on (server.address)");
    shorthand("--port", "server.port", "Port to listen on, 0 for any free one (server.port)");
    shorthand("--db", "store.path", "Database file (store.path)");
    shorthand("--log-level", "log.level", "debug, info, warn or error (log.level)");
    command->add_flag("--print-config", serve_.print_config,
                      "Print every setting, its value and where it is from, and exit");
    command->add_flag("--print-schema", serve_.print_schema,
                      "Print the JSON Schema of the configuration file and exit");
    command->callback([this] { action_ = [this] { return serve(); }; });
  }

  int serve() {
    for (const std::string& text : sets_) {
      const auto equals = text.find('=');
      if (equals == 0 || equals == std::string::npos) {
        std::fprintf(main_.err, "error: --set takes NAME=VALUE, such as server.port=0, not %s\n",
                     harmless(text).c_str());
        return kExitUsage;
      }
      serve_.settings.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    if (main_.serve) return main_.serve(serve_);
    std::fputs("error: this program has no server in it\n", main_.err);
    return kExitUsage;
  }

  void add_publish() {
    auto* command = app_.add_subcommand("publish", "Publish task code");
    command->add_option("file", publish_.files, "JavaScript or TypeScript files")->required();
    command->add_option("--name", publish_.name, "Name of the task; otherwise the file's name");
    command->add_option("--description", publish_.description, "What the task does");
    using When = BundleOptions::When;
    BundleOptions& bundle = publish_.bundle;
    auto* always = command->add_flag_callback(
        "--bundle", [&bundle] { bundle.when = When::always; },
        "Bundle every file; otherwise TypeScript, JSX and what imports anything");
    command
        ->add_flag_callback(
            "--no-bundle", [&bundle] { bundle.when = When::never; }, "Send files as they are")
        ->excludes(always);
    command->add_option("--esbuild", bundle.esbuild, "The esbuild to bundle with")
        ->envname("SEQUENTIAL_ESBUILD")
        ->type_name("PATH");
    command->add_option("--bundle-timeout", bundle.timeout_s, "Seconds that bundling may take")
        ->check(whole_number(1, kBundleSecondsMax))
        ->capture_default_str();
    on(command, [this](Session& session) { return publish(session, publish_); });
  }

  void add_tasks() {
    auto* group = app_.add_subcommand("tasks", "Look at published tasks");
    group->require_subcommand(1);
    on(group->add_subcommand("list", "List the tasks"), tasks_list);
    auto* show = group->add_subcommand("show", "Print a task's code");
    show->add_option("name", task_, "Name of the task")->required();
    on(show, [this](Session& session) { return tasks_show(session, task_); });
    auto* keep = group->add_subcommand("retention", "How long ended runs of a task are kept");
    keep->add_option("name", retention_.task, "Name of the task")->required();
    auto* completed = keep->add_option("--completed", retention_.completed,
                                       "Completed runs: 30d, 12h … or forever");
    auto* failed =
        keep->add_option("--failed", retention_.failed, "Runs that failed or were cancelled");
    keep->add_flag("--reset", retention_.forget, "As the task's options or the settings say")
        ->excludes(completed)
        ->excludes(failed);
    on(keep, [this](Session& session) { return tasks_retention(session, retention_); });
  }

  void add_run() {
    auto* command = app_.add_subcommand("run", "Start a run of a task");
    command->add_option("name", run_.task, "Name of the task")->required();
    command->add_option("--input", run_.input, "JSON, @FILE, or - for standard input");
    auto* wait = command->add_flag("--wait", run_.wait, "Wait for the end and print the result");
    command->add_option("--timeout", run_.timeout_s, "Seconds to wait at most; the run goes on")
        ->needs(wait)
        ->check(whole_number(1, 365 * 86'400));
    command->add_option("--idempotency-key", run_.idempotency_key,
                        "The same key starts the run only once");
    command->add_option("--task-version", run_.version, "Version of the task; otherwise the newest")
        ->check(positive_number());
    command->add_option("--priority", run_.priority, "Higher runs first")
        ->check(whole_number(-1'000, 1'000));
    command->add_option("--delay-ms", run_.delay_ms, "Start no earlier than so long from now")
        ->check(whole_number(0, kDelayMsMax));
    command->add_option("--queue-key", run_.queue_key,
                        "Runs of the task with the same key go one at a time, in order");
    on(command, [this](Session& session) { return run_task(session, run_); });
  }

  // What GET /runs can be asked for.
  static void add_filter(CLI::App* command, RunsFilter& filter,
                         const char* version_flag = "--task-version") {
    struct Option {
      const char *flag, *name, *help, *type;
    };
    const Option options[] = {
        {"--status", "status", "Only runs in this status, or in these, with commas", "STATUS"},
        {"--task", "task", "Only runs of this task; NAME* is of all that begin so", "NAME"},
        {version_flag, "version", "Only runs of this version", "N"},
        {"--tag", "tag", "Only runs with this tag; may be given several times", "KEY[:VALUE]"},
        {"--created-after", "created_after", "Only runs created then or later (UTC)", "TIME"},
        {"--created-before", "created_before", "Only runs created before", "TIME"},
        {"--started-after", "started_after", "Only runs started then or later", "TIME"},
        {"--started-before", "started_before", "Only runs started before", "TIME"},
        {"--ended-after", "ended_after", "Only runs that ended then or later", "TIME"},
        {"--ended-before", "ended_before", "Only runs that ended before", "TIME"},
        {"--text", "text", "Only runs whose error's name, code or message holds this", "TEXT"},
        {"--queue-key", "queue_key", "Only runs with this queue key", "KEY"},
        {"--parent", "parent", "Only runs that this run has started", "ID"},
        {"--idempotency-key", "idempotency_key", "The run with this key", "KEY"},
    };
    for (const Option& option : options) {
      command
          ->add_option_function<std::vector<std::string>>(
              option.flag,
              [&filter, name = option.name](const std::vector<std::string>& values) {
                for (const auto& value : values) filter.emplace_back(name, value);
              },
              option.help)
          ->type_name(option.type)
          ->allow_extra_args(false);
    }
    command
        ->add_option_function<std::vector<std::string>>(
            "--attr",
            [&filter](const std::vector<std::string>& values) {
              for (const auto& value : values) filter.push_back(attribute_of(value));
            },
            "Only runs with this attribute; also NAME<N and NAME>N")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
  }

  void add_runs() {
    auto* group = app_.add_subcommand("runs", "Look at runs");
    group->require_subcommand(1);
    auto* list = group->add_subcommand("list", "List runs, newest first");
    add_filter(list, runs_.filter);
    list->add_flag_callback(
        "--oldest", [this] { runs_.filter.emplace_back("order", "oldest"); }, "Oldest first");
    list->add_flag("--all", runs_.all, "All of them, page by page");
    list->add_option("--limit", runs_.limit, "How many; with --all in one request")
        ->check(whole_number(1, 1'000))
        ->capture_default_str();
    list->add_option("--cursor", runs_.cursor, "Go on where another list ended");
    on(list, [this](Session& session) { return runs_list(session, runs_); });

    auto* count = group->add_subcommand("count", "Count runs");
    add_filter(count, runs_.filter);
    on(count, [this](Session& session) { return runs_count(session, runs_.filter); });

    auto* remove = group->add_subcommand("delete", "Remove a run that has ended");
    remove->add_option("id", show_.id, "Number of the run")->required()->check(run_id());
    on(remove, [this](Session& session) { return runs_delete(session, show_.id); });

    auto* purge = group->add_subcommand("purge", "Remove runs that have ended");
    add_filter(purge, purge_.filter);
    purge
        ->add_option_function<std::string>(
            "--older-than", [this](const std::string& text) { purge_.older_than = text; },
            "Only what ended so long ago")
        ->type_name("30d");
    purge->add_flag("--dry-run", purge_.dry_run, "Only say how many there are");
    purge->add_flag("--yes", purge_.yes, "Without a filter: remove every run that has ended");
    on(purge, [this](Session& session) { return runs_purge(session, purge_); });

    auto* show = group->add_subcommand("show", "Show a run");
    show->add_option("id", show_.id, "Number of the run")->required()->check(run_id());
    show->add_option("--calls", show_.calls, "How many of its last calls to show")
        ->check(whole_number(0, 1'000))
        ->capture_default_str();
    auto* wait = show->add_flag("--wait", show_.wait, "Wait for the end and print the result");
    show->add_option("--timeout", show_.timeout_s, "Seconds to wait at most; the run goes on")
        ->needs(wait)
        ->check(whole_number(1, 365 * 86'400));
    on(show, [this](Session& session) { return runs_show(session, show_); });
    add_replay(*group);
    add_fork(*group);
    for (const char* action : {"cancel", "pause", "resume", "retry"}) add_change(*group, action);
  }

  void add_replay(CLI::App& group) {
    auto* command = group.add_subcommand("replay", "Try whether a version repeats what a run did");
    command->add_option("id", replay_.id, "Number of the run")->required()->check(run_id());
    command->add_option("--task-version", replay_.version, "Otherwise the newest")
        ->check(positive_number());
    on(command, [this](Session& session) { return runs_replay(session, replay_); });
  }

  void add_fork(CLI::App& group) {
    auto* command = group.add_subcommand("fork", "Start a copy of a run from one of its points");
    command->add_option("id", fork_.id, "Number of the run")->required()->check(run_id());
    auto* call = command->add_option("--call", fork_.call, "Before the outcome of this call")
                     ->check(positive_number());
    command->add_option("--position", fork_.position, "After so many outcomes")->excludes(call);
    command->add_option("--input", fork_.input, "Another input: JSON, @FILE or -");
    auto* result = command->add_option("--result", fork_.result, "That call's result instead");
    command->add_option("--error", fork_.error, "That call's error instead")->excludes(result);
    command->add_option("--task-version", fork_.version, "Otherwise the run's own")
        ->check(positive_number());
    on(command, [this](Session& session) { return runs_fork(session, fork_); });
  }

  void add_change(CLI::App& group, const std::string& action) {
    RunsChangeOptions& o = change_;
    auto* command = group.add_subcommand(action, "One run by number, or many by a filter");
    auto* id = command->add_option("id", o.id, "Number of the run")->check(run_id());
    if (action == "retry" || action == "resume") {
      command->add_option("--task-version", o.version, "Go on with this version of the task")
          ->check(positive_number());
    }
    if (action == "retry") {
      command->add_option("--call", o.call, "Go on from this call: it is made again")->needs(id);
      command->add_flag("--unknown-again", o.unknown_again,
                        "Also make calls again whose outcome is not known")->needs(id);
    }
    if (action == "cancel") add_cancel_options(*command, *id);
    add_filter(command, o.filter, "--of-version");
    command->add_option("--limit", o.limit, "At most so many")
        ->excludes(id)
        ->check(positive_number());
    command->add_flag("--all", o.all, "Whatever the run")->excludes(id);
    command->add_flag("--dry-run", o.dry_run, "Only count them")->excludes(id);
    command->add_flag("--yes", o.yes, "Do not ask");
    on(command, [this, action](Session& session) {
      change_.action = action;
      if (change_.id != 0 && !change_.filter.empty()) {
        return session.usage("give the number of a run or a filter, not both");
      }
      if (action != "cancel" || change_.id == 0) return runs_change(session, change_);
      cancel_.id = change_.id;
      return runs_cancel(session, cancel_);
    });
  }

  void add_cancel_options(CLI::App& command, CLI::Option& id) {
    const std::map<std::string, std::int64_t> units{
        {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}};
    const auto with_unit = CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::UNIT_REQUIRED);
    auto* grace = command.add_option("--grace", cancel_.grace_ms, "How long it may take, as 10s")
                      ->transform(with_unit)
                      ->type_name("TIME")
                      ->needs(&id);
    command.add_flag("--force", cancel_.force, "At once: its code does not see it")
        ->excludes(grace)
        ->needs(&id);
    command.add_option("--reason", cancel_.reason, "Part of the error's message")->needs(&id);
  }

  void add_logs() {
    auto* command = app_.add_subcommand("logs", "Print what a run has logged");
    command->add_option("id", logs_.id, "Number of the run")
        ->required()
        ->check(run_id());
    auto* follow = command->add_flag("-f,--follow", logs_.follow, "Go on until the run ends");
    command->add_flag("--calls", logs_.calls, "With its calls, as they begin and end")
        ->needs(follow);
    on(command, [this](Session& session) { return logs(session, logs_); });
  }

  void add_schedules() {
    auto* group = app_.add_subcommand("schedules", "Runs that begin by the clock");
    group->require_subcommand(0, 1);
    group->callback([this, group] {  // called besides that of a subcommand
      if (!group->get_subcommands().empty()) return;
      action_ = [this] { return with_session(schedules_list); };
    });
    on(group->add_subcommand("list", "List the schedules"), schedules_list);
    add_schedules_set(group);
    const auto of_one = [this, group](const char* name, const char* help,
                                      std::function<int(Session&)> what) {
      auto* command = group->add_subcommand(name, help);
      command->add_option("name", schedule_.name, "Name of the schedule")->required();
      on(command, std::move(what));
      return command;
    };
    of_one("show", "Show one, with its next ticks",
           [this](Session& s) { return schedules_show(s, schedule_.name); });
    of_one("pause", "Start nothing until it is resumed",
           [this](Session& s) { return schedules_pause(s, schedule_.name, true); });
    of_one("resume", "Go on with the next tick",
           [this](Session& s) { return schedules_pause(s, schedule_.name, false); });
    of_one("delete", "Delete one; its runs stay",
           [this](Session& s) { return schedules_delete(s, schedule_.name); });
    of_one("trigger", "Start a run of it now",
           [this](Session& s) { return schedules_trigger(s, schedule_.name, beside_); })
        ->add_flag("--beside", beside_, "Even if its last run is not over");
    auto* backfill = of_one("backfill", "Start the runs of ticks that are past, each once",
                            [this](Session& s) {
                              return schedules_backfill(s, schedule_.name, from_, to_);
                            });
    backfill->add_option("--from", from_, "First moment, such as 2026-11-01T00:00:00Z")
        ->required();
    backfill->add_option("--to", to_, "Last moment")->required();
  }

  void add_schedules_set(CLI::App* group) {
    auto* set = group->add_subcommand(
        "set", "Make a schedule, or replace it whole: what is not given is not kept");
    ScheduleSetOptions& o = schedule_;
    set->add_option("name", o.name, "Name of the schedule")->required();
    set->add_option("--task", o.task, "Name of the task")->required();
    set->add_option("--cron", o.cron, "When, such as \"0 6 * * MON-FRI\" or \"@every 90s\"")
        ->required();
    set->add_option("--tz", o.time_zone, "Time zone, such as Europe/Berlin")->capture_default_str();
    set->add_option("--overlap", o.overlap, "If its last run goes on: skip, queue, cancel, allow")
        ->capture_default_str();
    set->add_option("--jitter", o.jitter, "Start up to so much later, such as 30s");
    set->add_option("--catch-up", o.catch_up, "Missed ticks made up: latest, all, none")
        ->capture_default_str();
    set->add_option("--catch-up-window", o.catch_up_window, "How late at most, such as 2h");
    set->add_option("--input", o.input, "JSON, @FILE, or - for standard input");
    set->add_flag("--input-with-tick", o.input_with_tick,
                  "The task gets {schedule, tick, input} instead of the input");
    set->add_option("--task-version", o.version, "Version of the task; otherwise the newest")
        ->check(positive_number());
    set->add_option("--priority", o.priority, "Higher runs first")
        ->check(whole_number(-1'000, 1'000));
    set->add_option("--queue-key", o.queue_key,
                    "Its runs go one at a time with others of that key, in order");
    set->add_option("--description", o.description, "What it is for");
    set->add_flag("--paused", o.paused, "Start nothing until it is resumed");
    on(set, [this](Session& session) { return schedules_set(session, schedule_); });
  }

  void add_signal() {
    auto* command = app_.add_subcommand("signal", "Send a signal to a run");
    command->add_option("run", signal_.run, "Number of the run")->required()->check(run_id());
    command->add_option("name", signal_.name, "Name that the run waits for")->required();
    command->add_option("--data", signal_.data, "JSON, @FILE, or - for standard input");
    command->add_option("--idempotency-key", signal_.idempotency_key,
                        "The same key sends the signal only once");
    on(command, [this](Session& session) { return send_signal(session, signal_); });
  }

  void add_queues() {
    auto* group = app_.add_subcommand("queues", "Limits of tasks, and what waits because of them");
    group->require_subcommand(0, 1);
    group->callback([this, group] {  // comes after that of its subcommand
      if (group->get_subcommands().empty()) action_ = [this] { return with_session(queues_list); };
    });
    auto* set = group->add_subcommand("set", "Change limits of a task; none: no limit");
    set->add_option("task", queue_.task, "Name of the task")->required();
    set->add_option("--concurrency", queue_.concurrency, "Runs at work at once");
    set->add_option("--key-concurrency", queue_.key_concurrency, "The same of each queue key");
    set->add_option("--rate", queue_.rate, "Starts in a time, such as 10/1s");
    set->add_option("--key-rate", queue_.key_rate, "The same of each queue key");
    on(set, [this](Session& session) { return queues_set(session, queue_); });
    auto* show = group->add_subcommand("show", "Show a task's queue and its keys");
    show->add_option("task", task_, "Name of the task")->required();
    on(show, [this](Session& session) { return queues_show(session, task_); });
    auto* reset = group->add_subcommand("reset", "Remove all limits of a task");
    reset->add_option("task", task_, "Name of the task")->required();
    on(reset, [this](Session& session) { return queues_reset(session, task_); });
  }

  void add_keystore() {
    auto* group = app_.add_subcommand("keystore", "Secrets that services use");
    group->require_subcommand(1);
    auto* set = group->add_subcommand("set", "Store a secret, from a file or standard input");
    set->add_option("namespace", key_.name_space, "Namespace")->required();
    set->add_option("key", key_.key, "Name of the secret")->required();
    set->add_option("--value-file", key_.value_file,
                    "File with the value; one final line end is left out");
    on(set, [this](Session& session) { return keystore_set(session, key_); });
    auto* list = group->add_subcommand("list", "List names, never values");
    list->add_option("namespace", key_.name_space, "Only this namespace");
    on(list, [this](Session& session) { return keystore_list(session, key_.name_space); });
    auto* remove = group->add_subcommand("delete", "Delete a secret");
    remove->add_option("namespace", key_.name_space, "Namespace")->required();
    remove->add_option("key", key_.key, "Name of the secret")->required();
    on(remove, [this](Session& session) {
      return keystore_delete(session, key_.name_space, key_.key);
    });
  }

  void add_db() {
    auto* group = app_.add_subcommand("db", "The server's database");
    group->require_subcommand(1);
    on(group->add_subcommand("status", "Size, schema, and how many of what"), db_status);
    auto* clear = group->add_subcommand("clear", "Delete every run; tasks and secrets stay");
    clear->add_flag("--yes", yes_, "Do not ask");
    on(clear, [this](Session& session) { return db_clear(session, yes_); });
  }

  void add_version() {
    auto* command = app_.add_subcommand("version", "Print the version and what it was built with");
    command->callback([this] { action_ = [this] { return print_version(); }; });
  }

  int print_version() const {
    if (json_) {
      std::string components = "[";
      for (const std::string& component : main_.components) {
        if (components.size() > 1) components += ",";
        append_json_string(components, component);
      }
      JsonObject object;
      object.string("version", main_.version).raw("components", components + "]");
      std::fprintf(main_.out, "%s\n", std::move(object).text().c_str());
      return kExitOk;
    }
    std::fprintf(main_.out, "sequential-runner %s\n", main_.version.c_str());
    for (const std::string& component : main_.components) {
      std::fprintf(main_.out, "  %s\n", component.c_str());
    }
    return kExitOk;
  }

  const Main& main_;
  CLI::App app_{"Runs JavaScript tasks of unlimited length.", "sequential-runner"};
  std::function<int()> action_ = [] { return static_cast<int>(kExitUsage); };

  std::string server_ = kDefaultServer, token_file_;
  bool json_ = false, yes_ = false;
  ServeArguments serve_;
  std::vector<std::string> sets_;
  PublishOptions publish_;
  RunOptions run_;
  RunsListOptions runs_;
  RunsShowOptions show_;
  RunsCancelOptions cancel_;
  RunsPurgeOptions purge_;
  RetentionOptions retention_;
  RunsReplayOptions replay_;
  RunsForkOptions fork_;
  RunsChangeOptions change_;
  LogsOptions logs_;
  SignalOptions signal_;
  QueuesSetOptions queue_;
  KeystoreSetOptions key_;
  std::string task_;
  ScheduleSetOptions schedule_;
  std::string from_, to_;
  bool beside_ = false;
};

}  // namespace

int run_cli(const Main& main, int argc, const char* const* argv) {
  return CommandLine(main).parse_and_run(argc, argv);
}

}  // namespace sequential::cli
