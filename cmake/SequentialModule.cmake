# Test registration. One ctest test per program: no program is run to list its cases at build time.
#
#   sequential_test(store_test
#     SOURCES store_test.cpp
#     LIBS sequential::storage_sqlite
#     LABELS conformance                    # unit, conformance, e2e, crash, fuzz, tidy…
#     [ARGS --gtest_shuffle] [ENV KEY=VALUE…] [TIMEOUT 60] [SERIAL] [NO_MAIN] [SHARDS n])
#
#   sequential_script_test(quickstart_test
#     COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/quickstart_test.sh $<TARGET_FILE:sequential-runner>
#     LABELS e2e [ENV …] [TIMEOUT …] [SERIAL] [DIRECTORY dir])
#
# GoogleTest's main() is linked unless NO_MAIN; gmock too. SERIAL: nothing else runs beside it.
# SHARDS n: n ctest tests, each running every n-th case, so a slow program uses every core.
# Run one label with `ctest -L unit`, everything but the slow ones with `ctest -LE 'e2e|crash'`.
include_guard(GLOBAL)

set(SEQUENTIAL_TEST_TIMEOUT 300 CACHE STRING "Seconds a test may take unless it names its own")
mark_as_advanced(SEQUENTIAL_TEST_TIMEOUT)

# Sanitizers make everything slower; a time limit is there to end a hang, not to measure.
set(_sequential_timeout_factor 1)
if(SEQUENTIAL_SANITIZE MATCHES "thread")
  set(_sequential_timeout_factor 8)
elseif(SEQUENTIAL_SANITIZE)
  set(_sequential_timeout_factor 4)
endif()

set(_sequential_test_env "TZ=UTC")
if(SEQUENTIAL_SANITIZE MATCHES "address")
  # V8 reserves address space and throws away isolates on purpose: leaks are looked for where the
  # test says so (ASAN_OPTIONS in its ENV).
  list(APPEND _sequential_test_env
    "ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1")
endif()
if(SEQUENTIAL_SANITIZE MATCHES "undefined")
  list(APPEND _sequential_test_env "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
endif()
if(SEQUENTIAL_SANITIZE MATCHES "thread")
  # libnode is not instrumented, so TSan cannot see what orders its threads.
  file(WRITE "${PROJECT_BINARY_DIR}/tsan.supp"
       "called_from_lib:libnode.so\nrace:libnode.so\nmutex:libnode.so\nthread:libnode.so\n")
  list(APPEND _sequential_test_env
    "TSAN_OPTIONS=suppressions=${PROJECT_BINARY_DIR}/tsan.supp:halt_on_error=1:second_deadlock_stack=1")
endif()

function(_sequential_test_properties name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "LABELS;ENV")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT ${SEQUENTIAL_TEST_TIMEOUT})
  endif()
  math(EXPR timeout "${arg_TIMEOUT} * ${_sequential_timeout_factor}")
  # A later setting of the same variable wins.
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${timeout}
    LABELS "${arg_LABELS}"
    ENVIRONMENT "${_sequential_test_env};${arg_ENV}")
  if(arg_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

function(sequential_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL;NO_MAIN" "TIMEOUT;SHARDS" "SOURCES;LIBS;LABELS;ARGS;ENV")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "sequential_test(${name}): SOURCES is needed; not understood: "
                        "'${arg_UNPARSED_ARGUMENTS}'")
  endif()
  find_package(GTest CONFIG REQUIRED)
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} sequential::flags GTest::gtest GTest::gmock)
  if(NOT arg_NO_MAIN)
    target_link_libraries(${name} PRIVATE GTest::gmock_main)
  endif()
  set(common LABELS ${arg_LABELS})
  if(arg_TIMEOUT)
    list(APPEND common TIMEOUT ${arg_TIMEOUT})
  endif()
  if(arg_SERIAL)
    list(APPEND common SERIAL)
  endif()
  if(arg_SHARDS AND arg_SHARDS GREATER 1)
    math(EXPR last "${arg_SHARDS} - 1")
    foreach(shard RANGE 0 ${last})
      add_test(NAME ${name}.${shard} COMMAND ${name} --gtest_brief=1 ${arg_ARGS})
      _sequential_test_properties(${name}.${shard} ${common}
        ENV ${arg_ENV} GTEST_TOTAL_SHARDS=${arg_SHARDS} GTEST_SHARD_INDEX=${shard})
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${name} --gtest_brief=1 ${arg_ARGS})
    _sequential_test_properties(${name} ${common} ENV ${arg_ENV})
  endif()
endfunction()

function(sequential_script_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT;DIRECTORY" "COMMAND;LABELS;ENV")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_COMMAND)
    message(FATAL_ERROR "sequential_script_test(${name}): COMMAND is needed; not understood: "
                        "'${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_DIRECTORY)
    set(arg_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${arg_DIRECTORY}")
  set(common LABELS ${arg_LABELS} ENV ${arg_ENV})
  if(arg_TIMEOUT)
    list(APPEND common TIMEOUT ${arg_TIMEOUT})
  endif()
  if(arg_SERIAL)
    list(APPEND common SERIAL)
  endif()
  _sequential_test_properties(${name} ${common})
endfunction()
