# cpack: Debian packages, from a build that was configured for the prefix /usr (preset "package").
#   zvit         the command, its manual pages, completion and documents; for most people the only one
#   libzvit0     the shared library, apart, because programs of others depend on it and on its SONAME
#   libzvit-dev  header, archive, zvit.pc, find_package
#   zvit-mpi     the module for training on several machines: alone in needing MPI, which is large
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME zvit)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_VENDOR "zvit developers")
set(ZVIT_MAINTAINER "zvit developers <zvit@noreply.invalid>" CACHE STRING "Maintainer of the packages, with an address")
set(CPACK_PACKAGE_CONTACT "${ZVIT_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
    WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL zvit libzvit0 libzvit-dev)
if(TARGET zvit_mpi)
  list(APPEND CPACK_COMPONENTS_ALL zvit-mpi)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}")
set(debian_version "${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}")
# A copyright, a changelog and compressed pages, as Debian wants them.
set(CPACK_PRE_BUILD_SCRIPTS "${PROJECT_SOURCE_DIR}/cmake/ZvitDebianFiles.cmake")

# zvit_debian_package(COMPONENT section "summary" "description")
function(zvit_debian_package component section summary description)
  string(TOUPPER "${component}" name)
  set(CPACK_DEBIAN_${name}_PACKAGE_NAME "${component}" PARENT_SCOPE)
  set(CPACK_DEBIAN_${name}_PACKAGE_SECTION "${section}" PARENT_SCOPE)
  set(CPACK_DEBIAN_${name}_DESCRIPTION "${summary}
zvit trains, evaluates and runs Vision Transformers with ZeroS attention
(zero-sum linear attention) on folders of pictures, on the processor alone.

${description}" PARENT_SCOPE)
endfunction()
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has its own
zvit_debian_package(zvit science "Vision Transformers with zero-sum linear attention"
"This package holds the command zvit. The plots of reports need libcairo2, the
web server needs libmicrohttpd; both are loaded when they are first used.")
zvit_debian_package(libzvit0 libs "Vision Transformers with zero-sum linear attention - library"
"This package holds the shared library.")
zvit_debian_package(libzvit-dev libdevel "Vision Transformers with zero-sum linear attention - development"
"This package holds what is needed to build programs that use the library:
the header zvit.h, the static library, and files for pkg-config and CMake.")
zvit_debian_package(zvit-mpi science "Vision Transformers with zero-sum linear attention - MPI"
"This package holds the module that zvit train loads when mpirun started it,
to train on several machines.")

# The package that a library found here belongs to: its name has changed between releases of Debian.
function(zvit_debian_owner result library fallback)
  find_program(ZVIT_DPKG_QUERY dpkg-query)
  set(owner "")
  if(ZVIT_DPKG_QUERY)
    execute_process(COMMAND "${ZVIT_DPKG_QUERY}" -S "*/${library}" OUTPUT_VARIABLE found ERROR_QUIET)
    string(REGEX MATCH "^[a-z0-9.+-]+" owner "${found}")
  endif()
  if(NOT owner)
    set(owner "${fallback}")
  endif()
  set(${result} "${owner}" PARENT_SCOPE)
endfunction()
zvit_debian_owner(cairo libcairo.so.2 libcairo2)
zvit_debian_owner(microhttpd libmicrohttpd.so.12 libmicrohttpd12)
set(recommended "")
if(CAIRO_FOUND)
  list(APPEND recommended "${cairo}")
endif()
if(MICROHTTPD_FOUND)
  list(APPEND recommended "${microhttpd}")
endif()
list(JOIN recommended ", " CPACK_DEBIAN_ZVIT_PACKAGE_RECOMMENDS)
set(CPACK_DEBIAN_ZVIT_PACKAGE_SUGGESTS "zvit-mpi")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_LIBZVIT0_PACKAGE_CONTROL_EXTRA "${PROJECT_SOURCE_DIR}/cmake/debian/triggers")
set(CPACK_DEBIAN_LIBZVIT-DEV_PACKAGE_DEPENDS "libzvit0 (= ${debian_version})")
# To link the archive.
set(CPACK_DEBIAN_LIBZVIT-DEV_PACKAGE_SUGGESTS "libopenblas-dev, libsleef-dev, libcjson-dev, libjpeg-dev, libpng-dev")
set(CPACK_DEBIAN_ZVIT-MPI_PACKAGE_DEPENDS "zvit (= ${debian_version})")
include(CPack)
