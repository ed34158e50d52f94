# bash completion of tidegate
_tidegate() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    case $before in
    -f|-p) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -C) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    generate) mapfile -t COMPREPLY < <(compgen -W "man bash zsh fish" -- "$word"); return ;;
    esac
    local words="-f -c -cc -v -vv -V -q -d -db -D -p -n -C -W -Ws --metrics --help -h --version -dr -dW -L -m -N -dM -dI -dD -dC -dF -dL -dS -dG -dR -dV -dZ -de -dp -sf -st -S -x"
    [ "$COMP_CWORD" = 1 ] && words="demo updater probe reload upgrade generate $words"
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o filenames -F _tidegate tidegate
