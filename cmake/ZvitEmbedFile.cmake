# Run by zvit_embed (ZvitEmbed.cmake): FILE's bytes as a C array named NAME, into OUT. A zero follows the bytes, so that
# text can be used as a string.
file(READ "${FILE}" bytes HEX)
file(SHA256 "${FILE}" hash)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
set(sixteen "................................") # two digits a byte
string(REGEX REPLACE "(${sixteen})" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${OUT}" "#include \"vit/embed.h\"

static const unsigned char bytes[] = {
${bytes}
0};
const vit_embedded ${NAME} = {bytes, ${size}, \"${hash}\"};
")
