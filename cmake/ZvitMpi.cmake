# libzvit_mpi.so, which alone is linked with MPI: loaded when a launcher started several ranks (train/comm_launch.c), from
# beside the program or from the folder where it is installed.
include(GNUInstallDirs)
set(zvit_module_dir "${CMAKE_INSTALL_FULL_LIBDIR}/zvit")
file(RELATIVE_PATH zvit_module_from_bin "${CMAKE_INSTALL_FULL_BINDIR}" "${zvit_module_dir}")
set_source_files_properties(train/comm_launch.c PROPERTIES COMPILE_DEFINITIONS
  "ZVIT_MODULE_DIR=\"${zvit_module_dir}\";ZVIT_MODULE_FROM_BIN=\"${zvit_module_from_bin}\"")
if(MPI_FOUND)
  add_library(zvit_mpi MODULE train/comm_mpi.c)
  set_target_properties(zvit_mpi PROPERTIES C_VISIBILITY_PRESET hidden)
  target_link_libraries(zvit_mpi PRIVATE zvit_options PkgConfig::MPI)
  install(TARGETS zvit_mpi LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/zvit" COMPONENT zvit-mpi)
endif()
