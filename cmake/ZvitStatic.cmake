# ZVIT_STATIC: the command with all libraries in it but libc and libm, for machines that have none of them. libc stays shared,
# so that what is loaded when needed (cairo, libmicrohttpd, protobuf-c, MPI) still can be. The library is as ever.
set(ZVIT_STATIC_PREFIX "" CACHE PATH "Folder with lib/libsleef.a and lib/libcjson.a, made by tools/static_libs.sh")

# zvit_archive(LIST name PREFIX hint): appends the path of libNAME.a: of ZVIT_STATIC_PREFIX, of the folder of the shared library
# that pkg-config found, or of the compiler.
function(zvit_archive list name prefix hint)
  find_library(ZVIT_ARCHIVE_${name} NAMES "lib${name}.a" NO_DEFAULT_PATH
               PATHS "${ZVIT_STATIC_PREFIX}/lib" ${${prefix}_LIBRARY_DIRS} ${${prefix}_LIBDIR})
  set(file "${ZVIT_ARCHIVE_${name}}")
  if(NOT file)
    execute_process(COMMAND "${CMAKE_C_COMPILER}" "-print-file-name=lib${name}.a" OUTPUT_VARIABLE file
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  if(NOT IS_ABSOLUTE "${file}")
    message(FATAL_ERROR "ZVIT_STATIC=ON needs lib${name}.a, which was not found. ${hint}")
  endif()
  set(${list} ${${list}} "${file}" PARENT_SCOPE)
endfunction()

# zvit_link_archives(TARGET): links an executable with zvit's archive and those of the libraries below it.
function(zvit_link_archives target)
  if(NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
    message(FATAL_ERROR "ZVIT_STATIC=ON needs gcc, whose OpenMP comes as an archive; the compiler is ${CMAKE_C_COMPILER_ID}")
  endif()
  set(made "Debian has none: tools/static_libs.sh FOLDER makes it, -DZVIT_STATIC_PREFIX=FOLDER names the folder")
  set(archives)
  zvit_archive(archives sleef SLEEF "${made}")
  zvit_archive(archives cjson CJSON "${made}")
  zvit_archive(archives jpeg JPEG "Debian package: libjpeg62-turbo-dev")
  zvit_archive(archives png PNG "Debian package: libpng-dev")
  zvit_archive(archives z PNG "Debian package: zlib1g-dev")
  zvit_archive(archives openblas OPENBLAS "Debian package: libopenblas-openmp-dev")
  # One OpenMP for zvit and OpenBLAS alike, and the archive: -fopenmp at the link would take libgomp.so.
  zvit_archive(archives gomp GOMP "It comes with gcc")
  target_compile_options(${target} PRIVATE ${OpenMP_C_FLAGS})
  target_include_directories(${target} SYSTEM PRIVATE $<TARGET_PROPERTY:zvit_static,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(${target} PRIVATE zvit_features $<TARGET_FILE:zvit_static> ${archives} m)
  # Nothing of the archives is seen by what is loaded: cairo has its own libpng.
  target_link_options(${target} PRIVATE -static-libgcc "-Wl,--exclude-libs,ALL")
  add_dependencies(${target} zvit_static)
endfunction()
