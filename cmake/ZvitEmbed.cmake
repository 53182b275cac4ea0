# zvit_embed(TARGET FILE...): puts files of the source tree into the program. Each becomes a vit_embedded (vit/embed.h)
# named after its path: tools/serve/page.css is vit_embedded_tools_serve_page_css. Built again when the file changes.
function(zvit_embed target)
  foreach(file ${ARGN})
    string(REGEX REPLACE "[^A-Za-z0-9]" "_" name "${file}")
    set(source "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
    set(output "${CMAKE_CURRENT_BINARY_DIR}/embedded/${file}.c")
    add_custom_command(
      OUTPUT "${output}"
      COMMAND "${CMAKE_COMMAND}" "-DFILE=${source}" "-DNAME=vit_embedded_${name}" "-DOUT=${output}"
              -P "${PROJECT_SOURCE_DIR}/cmake/ZvitEmbedFile.cmake"
      DEPENDS "${source}" "${PROJECT_SOURCE_DIR}/cmake/ZvitEmbedFile.cmake"
      COMMENT "Embedding ${file}"
      VERBATIM)
    target_sources(${target} PRIVATE "${output}")
  endforeach()
endfunction()
