from olhar.cli import main

main()
