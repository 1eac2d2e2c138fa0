# The fuzzers of tests/fuzz, with the rooms that read what others wrote: they need clang's libFuzzer, and no oneDNN and OpenMP.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "RAPT_FUZZ needs clang++: cmake --preset fuzz")
endif()
file(GLOB_RECURSE RAPT_FUZZED_SOURCES CONFIGURE_DEPENDS src/text/*.cpp src/formats/*.cpp)
# Configs of all families, without the models that are made of them.
file(GLOB RAPT_FUZZED_CONFIGS CONFIGURE_DEPENDS src/families/*.cpp src/attention/visibility*.cpp)
list(FILTER RAPT_FUZZED_CONFIGS EXCLUDE REGEX "/families/(checkpoint|tensors)\\.cpp$")
list(APPEND RAPT_FUZZED_CONFIGS src/attention/expression.cpp src/attention/linear_features.cpp src/model/config.cpp src/model/layer_attention.cpp src/model/positions.cpp
     src/model/attention_rules.cpp src/core/tensor.cpp src/core/aligned_memory.cpp src/core/random.cpp)
add_library(rapt_fuzzed STATIC ${RAPT_FUZZED_SOURCES} ${RAPT_FUZZED_CONFIGS} tests/fuzz/targets.cpp)
target_include_directories(rapt_fuzzed PUBLIC include src tests)
target_compile_options(rapt_fuzzed PUBLIC -g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
target_link_libraries(rapt_fuzzed PUBLIC ZLIB::ZLIB fmt::fmt nlohmann_json::nlohmann_json ${SENTENCEPIECE_TRAIN_LIBRARY}
                                         ${SENTENCEPIECE_LIBRARY} ${UTF8PROC_LIBRARY})
foreach(target gguf safetensors config_json tokenizer_json chat_template)
  add_executable(fuzz_${target} tests/fuzz/fuzzer.cpp)
  target_compile_definitions(fuzz_${target} PRIVATE RAPT_FUZZ_TARGET=${target})
  target_link_libraries(fuzz_${target} PRIVATE rapt_fuzzed)
  target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer,address,undefined)
endforeach()
