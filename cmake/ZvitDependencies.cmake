# Finds what zvit is built on; a missing library is named with its Debian package.

find_package(PkgConfig QUIET)
if(NOT PKG_CONFIG_FOUND)
  message(FATAL_ERROR "zvit needs pkg-config to find its libraries (Debian package: pkg-config)")
endif()

# zvit_require(PREFIX module "what it is for" debian-package)
function(zvit_require prefix module purpose package)
  pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${prefix}_FOUND)
    message(FATAL_ERROR "zvit needs ${module} (${purpose}), which was not found. Debian package: ${package}")
  endif()
  message(STATUS "${module} ${${prefix}_VERSION}")
endfunction()

zvit_require(JPEG libjpeg "reading JPEG" libjpeg62-turbo-dev)
zvit_require(PNG libpng "reading PNG" libpng-dev)
zvit_require(OPENBLAS openblas "matrix products" "libopenblas-openmp-dev (or libopenblas-pthread-dev)")
zvit_require(CJSON libcjson "JSON" libcjson-dev)
zvit_require(SLEEF sleef "vectorised exp and erf" libsleef-dev)

find_package(OpenMP COMPONENTS C QUIET)
if(NOT OpenMP_C_FOUND)
  message(FATAL_ERROR "zvit needs OpenMP, which this compiler does not offer. Debian package: libgomp1 comes with gcc; for clang, libomp-dev")
endif()

if(ZVIT_TESTS)
  zvit_require(CHECK check "running the tests; or configure with -DZVIT_TESTS=OFF" check)
endif()

# zvit_feature(NAME module "what it adds" debian-package library): a library that zvit can do without. Found, it is used and
# ZVIT_HAVE_NAME is defined; -DZVIT_NAME=OFF leaves it out, =ON insists on it. zvit info lists what is in.
function(zvit_feature name module purpose package library)
  set(ZVIT_${name} AUTO CACHE STRING "${purpose} (needs ${module}): AUTO, ON or OFF")
  set_property(CACHE ZVIT_${name} PROPERTY STRINGS AUTO ON OFF)
  if(ZVIT_${name} STREQUAL "AUTO" OR ZVIT_${name})
    pkg_check_modules(${name} QUIET IMPORTED_TARGET GLOBAL ${module})
  endif()
  if(${name}_FOUND)
    message(STATUS "${module} ${${name}_VERSION}")
    target_compile_definitions(zvit_features INTERFACE ZVIT_HAVE_${name}=1 ZVIT_${name}_LIBRARY="${library}")
    target_include_directories(zvit_features SYSTEM INTERFACE ${${name}_INCLUDE_DIRS})
  elseif(ZVIT_${name} STREQUAL "AUTO")
    message(STATUS "${module} not found: without ${purpose} (Debian package: ${package})")
  elseif(ZVIT_${name})
    message(FATAL_ERROR "ZVIT_${name}=ON needs ${module} (${purpose}), which was not found. Debian package: ${package}")
  endif()
endfunction()

add_library(zvit_features INTERFACE)
zvit_feature(CAIRO cairo "drawing plots and heat maps" libcairo2-dev libcairo.so.2)
zvit_feature(MICROHTTPD libmicrohttpd "zvit serve" libmicrohttpd-dev libmicrohttpd.so.12)
zvit_feature(MPI mpi-c "training on several machines" libopenmpi-dev libzvit_mpi.so)

# Messages need the compiler beside the library.
find_program(ZVIT_PROTOC_C protoc-c)
if(ZVIT_PROTOC_C)
  zvit_feature(PROTOBUF_C libprotobuf-c "export to ONNX" "libprotobuf-c-dev protobuf-c-compiler" libprotobuf-c.so.1)
elseif(ZVIT_PROTOBUF_C AND NOT ZVIT_PROTOBUF_C STREQUAL "AUTO")
  message(FATAL_ERROR "ZVIT_PROTOBUF_C=ON needs protoc-c, which was not found. Debian package: protobuf-c-compiler")
else()
  message(STATUS "protoc-c not found: without export to ONNX (Debian packages: libprotobuf-c-dev protobuf-c-compiler)")
endif()

# The kernels of vmath and quant are one source compiled for each instruction set; the processor chooses at run time.
function(zvit_kernel_flags)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/vit/vmath_avx2.c" PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
    set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/vit/vmath_avx512f.c" PROPERTIES COMPILE_OPTIONS "-mavx512f;-mfma")
    set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/vit/quant_avx2.c" PROPERTIES COMPILE_OPTIONS "-mavx2")
    set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/vit/quant_avxvnni.c" PROPERTIES COMPILE_OPTIONS "-mavx2;-mavxvnni")
    set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/vit/quant_avx512vnni.c" PROPERTIES
                                COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512vl;-mavx512vnni")
  endif()
endfunction()

# zvit_messages(TARGET FILE.proto): protobuf-c's code for it, made by protoc-c, for one source of the target to include
# ("FILE.pb-c.c").
function(zvit_messages target file)
  get_filename_component(name "${file}" NAME_WE)
  get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}/${file}" DIRECTORY)
  set(out "${PROJECT_BINARY_DIR}/messages")
  file(MAKE_DIRECTORY "${out}")
  add_custom_command(
    OUTPUT "${out}/${name}.pb-c.c" "${out}/${name}.pb-c.h"
    COMMAND "${ZVIT_PROTOC_C}" "--c_out=${out}" "-I${folder}" "${CMAKE_CURRENT_SOURCE_DIR}/${file}"
    DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}"
    COMMENT "Messages of ${file}"
    VERBATIM)
  set_source_files_properties("${out}/${name}.pb-c.c" PROPERTIES HEADER_FILE_ONLY ON)
  target_sources(${target} PRIVATE "${out}/${name}.pb-c.c" "${out}/${name}.pb-c.h")
  target_include_directories(${target} SYSTEM PRIVATE "${out}")
  set(ZVIT_MESSAGES "${out}" PARENT_SCOPE)
endfunction()
