# rapt_embed(TARGET NAMESPACE HEADER NAME= FILE... [NAME= FILE...]...)
#
# Compiles files into TARGET: each NAME becomes a constant NAMESPACE::NAME, of the type File that HEADER declares (text,
# sha256), which holds the FILEs that follow, laid end to end. Bytes are written as numbers, so that no length and no
# content of theirs can trouble a compiler.
#
#   rapt_embed(rapt rapt::view::embedded view/embedded.h  page_css= page.css  page_js= model.js page.js)

# The function below has this very file run as a script, whenever one of the embedded files has changed.
if(CMAKE_SCRIPT_MODE_FILE)
  function(define name)
    set(text "")
    foreach(file ${ARGN})
      file(READ ${file} part)
      string(APPEND text "${part}")
    endforeach()
    string(SHA256 hash "${text}")
    string(HEX "${text}" numbers)
    string(REGEX REPLACE "(..)" "0x\\1," numbers "${numbers}")
    string(REPEAT "....." 20 line)
    string(REGEX REPLACE "(${line})" "\\1\n" numbers "${numbers}")
    file(APPEND ${OUTPUT} "
static const unsigned char ${name}_bytes[] = {
${numbers}};
const File ${name}{{reinterpret_cast<const char*>(${name}_bytes), sizeof ${name}_bytes}, \"${hash}\"};
")
  endfunction()

  file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n")
  set(name "")
  foreach(part ${PARTS})
    if(part MATCHES "^(.+)=$")
      if(name)
        define(${name} ${files})
      endif()
      set(name ${CMAKE_MATCH_1})
      set(files "")
    else()
      list(APPEND files ${part})
    endif()
  endforeach()
  define(${name} ${files})
  file(APPEND ${OUTPUT} "\n}  // namespace ${NAMESPACE}\n")
  return()
endif()

set(RAPT_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(rapt_embed target namespace header)
  set(parts "")
  set(files "")
  foreach(part ${ARGN})
    if(NOT part MATCHES "=$")
      cmake_path(ABSOLUTE_PATH part)
      list(APPEND files ${part})
    endif()
    list(APPEND parts ${part})
  endforeach()
  string(MAKE_C_IDENTIFIER ${namespace} stem)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${stem}.cpp)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DNAMESPACE=${namespace} -DHEADER=${header} "-DPARTS=${parts}"
            -P ${RAPT_EMBED_SCRIPT}
    DEPENDS ${files} ${RAPT_EMBED_SCRIPT}
    COMMENT "Embedding the files of ${namespace}"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
