# Run by cpack before it makes a package of what it has installed into a folder for each component: adds what Debian wants
# and compresses what Debian wants compressed. The date is that of SOURCE_DATE_EPOCH, so that a package can be made again.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
find_program(gzip gzip REQUIRED)
file(READ "${CMAKE_CURRENT_LIST_DIR}/../LICENSE" licence)
string(REGEX REPLACE "^.*\n\nPermission" "Permission" licence "${licence}")
string(STRIP "${licence}" licence)
string(REGEX REPLACE "\n\n" "\n.\n" licence "${licence}")
string(REGEX REPLACE "\n" "\n " licence " ${licence}")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(version "${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}")
set(upstream "${CPACK_PACKAGE_VERSION}")
set(maintainer "${CPACK_PACKAGE_CONTACT}")

# Of lintian's errors, the one that is none.
set(lintian-zvit-mpi "# What the module calls is MPI's, and nothing of libc.
zvit-mpi: library-not-linked-against-libc *
")

foreach(package ${CPACK_COMPONENTS_ALL})
  set(root "${CPACK_TEMPORARY_DIRECTORY}/${package}${CPACK_PACKAGING_INSTALL_PREFIX}")
  set(doc "${root}/share/doc/${package}")
  configure_file("${CMAKE_CURRENT_LIST_DIR}/debian/copyright.in" "${doc}/copyright" @ONLY)
  configure_file("${CMAKE_CURRENT_LIST_DIR}/debian/changelog.in" "${doc}/changelog.Debian" @ONLY)
  if(DEFINED lintian-${package})
    file(WRITE "${root}/share/lintian/overrides/${package}" "${lintian-${package}}")
  endif()
  file(GLOB compressed "${root}/share/man/man1/*.1")
  execute_process(COMMAND "${gzip}" -9nf "${doc}/changelog.Debian" ${compressed} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
