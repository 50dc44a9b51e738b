def check(recipe, path):
    pass
